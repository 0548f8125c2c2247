-- Every key below organization starts with organization_id: a row cannot reference a row of another organization.
-- STRICT keeps each column to its type; text compares byte by byte (BINARY is the default collation). Ids are UUIDs
-- as 16 bytes, times are RFC 3339 text.

CREATE TABLE organization (
    id          BLOB NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    created_at  TEXT NOT NULL
) STRICT;

CREATE TABLE api_key (
    organization_id  BLOB NOT NULL REFERENCES organization (id),
    id               BLOB NOT NULL,
    digest           BLOB NOT NULL UNIQUE, -- SHA-256 of the key; the key itself is not stored
    label            TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    expires_at       TEXT,
    revoked_at       TEXT,
    PRIMARY KEY (organization_id, id)
) STRICT;

CREATE TABLE customer (
    organization_id  BLOB NOT NULL REFERENCES organization (id),
    id               BLOB NOT NULL,
    email            TEXT NOT NULL,
    name             TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, email)
) STRICT;

CREATE TABLE device (
    organization_id  BLOB NOT NULL REFERENCES organization (id),
    id               BLOB NOT NULL,
    identifier       TEXT NOT NULL,
    device_type      TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, identifier)
) STRICT;

CREATE TABLE device_assignment (
    organization_id  BLOB NOT NULL,
    customer_id      BLOB NOT NULL,
    device_id        BLOB NOT NULL,
    created_at       TEXT NOT NULL,
    PRIMARY KEY (organization_id, customer_id, device_id),
    FOREIGN KEY (organization_id, customer_id) REFERENCES customer (organization_id, id),
    FOREIGN KEY (organization_id, device_id) REFERENCES device (organization_id, id)
) STRICT, WITHOUT ROWID;

-- Finds the owners of a device.
CREATE INDEX device_assignment_device ON device_assignment (organization_id, device_id);
