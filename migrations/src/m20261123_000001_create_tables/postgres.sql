-- Every key below organization starts with organization_id: a row cannot reference a row of another organization,
-- and a sharded PostgreSQL can keep an organization on one shard.
-- COLLATE "C" compares byte by byte, whatever the database's own collation.

CREATE TABLE organization (
    id          uuid        NOT NULL PRIMARY KEY,
    name        text        COLLATE "C" NOT NULL UNIQUE,
    created_at  timestamptz NOT NULL
);

CREATE TABLE api_key (
    organization_id  uuid        NOT NULL REFERENCES organization (id),
    id               uuid        NOT NULL,
    digest           bytea       NOT NULL UNIQUE, -- SHA-256 of the key; the key itself is not stored
    label            text        COLLATE "C" NOT NULL,
    created_at       timestamptz NOT NULL,
    expires_at       timestamptz,
    revoked_at       timestamptz,
    PRIMARY KEY (organization_id, id)
);

CREATE TABLE customer (
    organization_id  uuid        NOT NULL REFERENCES organization (id),
    id               uuid        NOT NULL,
    email            text        COLLATE "C" NOT NULL,
    name             text        COLLATE "C" NOT NULL,
    created_at       timestamptz NOT NULL,
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, email)
);

CREATE TABLE device (
    organization_id  uuid        NOT NULL REFERENCES organization (id),
    id               uuid        NOT NULL,
    identifier       text        COLLATE "C" NOT NULL,
    device_type      text        COLLATE "C" NOT NULL,
    created_at       timestamptz NOT NULL,
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, identifier)
);

CREATE TABLE device_assignment (
    organization_id  uuid        NOT NULL,
    customer_id      uuid        NOT NULL,
    device_id        uuid        NOT NULL,
    created_at       timestamptz NOT NULL,
    PRIMARY KEY (organization_id, customer_id, device_id),
    FOREIGN KEY (organization_id, customer_id) REFERENCES customer (organization_id, id),
    FOREIGN KEY (organization_id, device_id) REFERENCES device (organization_id, id)
);

-- Finds the owners of a device.
CREATE INDEX device_assignment_device ON device_assignment (organization_id, device_id);
