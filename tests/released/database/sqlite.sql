-- A database as the version before the change log left it: its schema ends with the step m20261125_000003.
-- Written by sqlite3's .dump.
--
-- Key of acme: tlm_0GIRgeSINeTevPQqztLD87lMt2Mwr8b0HkPgs3xPSfh2FKuhw
-- Key of globex: tlm_KKmf9Mj44bu9kQMH6gD9SBWi8DYWuvcGdL66czLoLNV3hjATP
-- Revoked key of acme: tlm_nrOXkWN2JDvN1ytmZ3dqlg0CdjVrPFLPlTzUKcoyjr604K6E1

PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE IF NOT EXISTS "seaql_migrations" ( "version" varchar NOT NULL PRIMARY KEY, "applied_at" integer NOT NULL );
INSERT INTO seaql_migrations VALUES('m20261123_000001_create_tables',1795993912);
INSERT INTO seaql_migrations VALUES('m20261125_000002_add_key_last_use',1795993912);
INSERT INTO seaql_migrations VALUES('m20261125_000003_extend_device_index',1795993912);
CREATE TABLE organization (
    id          BLOB NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    created_at  TEXT NOT NULL
) STRICT;
INSERT INTO organization VALUES(X'01a22994436c72188bd4f1f491df11cb','acme','2026-11-29T23:11:52.17246315Z');
INSERT INTO organization VALUES(X'01a22994439371b99d91c5ddc31bc0c2','globex','2026-11-29T23:11:52.211814274Z');
INSERT INTO organization VALUES(X'01a2299443a0774ca4486bd04f7673ef','initech','2026-11-29T23:11:52.224551255Z');
CREATE TABLE api_key (
    organization_id  BLOB NOT NULL REFERENCES organization (id),
    id               BLOB NOT NULL,
    digest           BLOB NOT NULL UNIQUE, -- SHA-256 of the key, which itself is not stored
    label            TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    expires_at       TEXT,
    revoked_at       TEXT, last_used_at TEXT,
    PRIMARY KEY (organization_id, id)
) STRICT;
INSERT INTO api_key VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a2299443d873dfa66c262d8c2689aa',X'b1356e4b9d4cf5bef9be2c778ecb24cd297368751551fa53658710dcab40c76c','unnamed','2026-11-29T23:11:52.280415175Z',NULL,NULL,'2026-11-29T23:11:53Z');
INSERT INTO api_key VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a2299443ec760d889d471120223b71',X'bd32b38ce882f93528511293fd1bb32cec66eda2e4f291927e8cbc84f44eeab3','revoked','2026-11-29T23:11:52.300083997Z',NULL,'2026-11-29T23:11:52.498078097Z',NULL);
INSERT INTO api_key VALUES(X'01a22994439371b99d91c5ddc31bc0c2',X'01a2299444587622931f507334d4c4fe',X'5b194b42aa1b5037f50e6b1061ee8449dc576dfd3108ceaff37fc37dbd3abe71','unnamed','2026-11-29T23:11:52.408801529Z',NULL,NULL,'2026-11-29T23:11:53Z');
CREATE TABLE customer (
    organization_id  BLOB NOT NULL REFERENCES organization (id),
    id               BLOB NOT NULL,
    email            TEXT NOT NULL,
    name             TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, email)
) STRICT;
INSERT INTO customer VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a229944696760da0f8fa55f77a9fcf','ann@example.com','ann','2026-11-29T23:11:52.982084612Z');
INSERT INTO customer VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a2299446f57420ab187f39ffe0eddf','bob@example.com','bob','2026-11-29T23:11:53.077856624Z');
INSERT INTO customer VALUES(X'01a22994439371b99d91c5ddc31bc0c2',X'01a22994474671dfbba9a5fbb14b07a3','ann@example.com','ann','2026-11-29T23:11:53.158456705Z');
CREATE TABLE device (
    organization_id  BLOB NOT NULL REFERENCES organization (id),
    id               BLOB NOT NULL,
    identifier       TEXT NOT NULL,
    device_type      TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, identifier)
) STRICT;
INSERT INTO device VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a2299444d87661adfe50430ca367e5','SN-1','sensor','2026-11-29T23:11:52.536495951Z');
INSERT INTO device VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a2299444d87661adfe50449e62e896','SN-2','sensor','2026-11-29T23:11:52.536495951Z');
INSERT INTO device VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a2299444d87661adfe504528b6d62f','SN-unowned','sensor','2026-11-29T23:11:52.536495951Z');
INSERT INTO device VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a2299444d87661adfe504645b3698c','ü 設 🛰','gateway','2026-11-29T23:11:52.536495951Z');
INSERT INTO device VALUES(X'01a22994439371b99d91c5ddc31bc0c2',X'01a22994451577bea4789cc97ea40c73','SN-1','sensor','2026-11-29T23:11:52.597977988Z');
INSERT INTO device VALUES(X'01a22994439371b99d91c5ddc31bc0c2',X'01a22994451577bea4789ccae1be18d7','SN-2','valve','2026-11-29T23:11:52.597977988Z');
INSERT INTO device VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a2299447077325b7389034278a7130','SN-3','camera','2026-11-29T23:11:53.0951367Z');
INSERT INTO device VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a2299447077325b7389035fec71648','SN-4','camera','2026-11-29T23:11:53.0951367Z');
CREATE TABLE device_assignment (
    organization_id  BLOB NOT NULL,
    customer_id      BLOB NOT NULL,
    device_id        BLOB NOT NULL,
    created_at       TEXT NOT NULL,
    PRIMARY KEY (organization_id, customer_id, device_id),
    FOREIGN KEY (organization_id, customer_id) REFERENCES customer (organization_id, id),
    FOREIGN KEY (organization_id, device_id) REFERENCES device (organization_id, id)
) STRICT, WITHOUT ROWID;
INSERT INTO device_assignment VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a229944696760da0f8fa55f77a9fcf',X'01a2299444d87661adfe50430ca367e5','2026-11-29T23:11:52.982084612Z');
INSERT INTO device_assignment VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a229944696760da0f8fa55f77a9fcf',X'01a2299444d87661adfe50449e62e896','2026-11-29T23:11:52.982084612Z');
INSERT INTO device_assignment VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a229944696760da0f8fa55f77a9fcf',X'01a2299444d87661adfe504645b3698c','2026-11-29T23:11:52.982084612Z');
INSERT INTO device_assignment VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a2299446f57420ab187f39ffe0eddf',X'01a2299444d87661adfe50430ca367e5','2026-11-29T23:11:53.077856624Z');
INSERT INTO device_assignment VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a2299446f57420ab187f39ffe0eddf',X'01a2299447077325b7389034278a7130','2026-11-29T23:11:53.0951367Z');
INSERT INTO device_assignment VALUES(X'01a22994436c72188bd4f1f491df11cb',X'01a2299446f57420ab187f39ffe0eddf',X'01a2299447077325b7389035fec71648','2026-11-29T23:11:53.0951367Z');
INSERT INTO device_assignment VALUES(X'01a22994439371b99d91c5ddc31bc0c2',X'01a22994474671dfbba9a5fbb14b07a3',X'01a22994451577bea4789cc97ea40c73','2026-11-29T23:11:53.158456705Z');
CREATE INDEX device_assignment_device ON device_assignment (organization_id, device_id);
COMMIT;
