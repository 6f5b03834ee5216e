-- What the first release left behind. Rows come in the order of tables, not of references.
PRAGMA foreign_keys = OFF;
CREATE TABLE alias (
        function INTEGER NOT NULL REFERENCES function ON DELETE CASCADE,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        description TEXT NOT NULL,
        additional_version INTEGER,
        weight REAL,
        revision_id TEXT NOT NULL,
        PRIMARY KEY (function, name)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "alias" VALUES(1,'live',1,'',NULL,NULL,'b460fad4-bb05-4355-8fe6-2c5b2fe0800a');
CREATE TABLE function (
        id INTEGER PRIMARY KEY,
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        next_version INTEGER NOT NULL,
        tags TEXT NOT NULL,
        reserved_concurrency INTEGER,
        UNIQUE (account, region, name)
    ) STRICT;
INSERT INTO "function" VALUES(1,'000000000001','us-east-1','old',2,'{"k":"v"}',7);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('format','1');
CREATE TABLE version (
        function INTEGER NOT NULL REFERENCES function ON DELETE CASCADE,
        number INTEGER NOT NULL,
        revision_id TEXT NOT NULL,
        last_modified INTEGER NOT NULL,
        status TEXT NOT NULL,
        description TEXT,
        code TEXT NOT NULL,
        configuration TEXT NOT NULL,
        PRIMARY KEY (function, number)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "version" VALUES(1,0,'74f99e58-115e-458c-aec7-8c5ba4d6fa56',1795452101775,'"Ready"',NULL,'{"architecture":"x86_64","package":{"Zip":{"hash":"f628ac57b3c18c80ff8f341f50a91b55e87679bbe51cf00faed5f1005f7a6bed","size":140}}}','{"role":"arn:aws:iam::000000000001:role/r","runtime":"python3.13","handler":"index.handler","timeout":3,"memory_size":128,"ephemeral_storage":512,"environment":{"AB":"b"},"tracing":"PassThrough","snap_start":"None","logging":{"format":"Text"}}');
INSERT INTO "version" VALUES(1,1,'fe7a9000-4793-46bb-ad01-916ba3c43ae6',1795452101775,'"Ready"',NULL,'{"architecture":"x86_64","package":{"Zip":{"hash":"f628ac57b3c18c80ff8f341f50a91b55e87679bbe51cf00faed5f1005f7a6bed","size":140}}}','{"role":"arn:aws:iam::000000000001:role/r","runtime":"python3.13","handler":"index.handler","timeout":3,"memory_size":128,"ephemeral_storage":512,"environment":{"AB":"b"},"tracing":"PassThrough","snap_start":"None","logging":{"format":"Text"}}');
