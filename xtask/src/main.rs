//! The chores of this repository: codegen, tidy, test, bench.

fn main() {}
