// Entry point: `node [options] index.mjs`. The rest is CommonJS, which loads faster.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
require("./client.cjs").main(require);
