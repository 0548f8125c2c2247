-- The change log: one ordered history for each organization. From here on every change of customers, devices and assignments is
-- a row of it, written in the transaction that makes the change.

-- Every change of an organization, numbered without gaps. The primary key is what keeps writers serial: a writer numbers its
-- changes from the newest one that it has read, and the key refuses them if somebody else committed a change in between.
--
-- Effects are ids alone: erasing a customer or a device erases its personal data without an edit of the log. A list of ids is
-- their 16 bytes each, one after the other. A pair is a customer and a device at the same position of two lists; a list of one id
-- stands for every position.
CREATE TABLE change_log (
    organization_id       BLOB    NOT NULL,
    revision              INTEGER NOT NULL CHECK (revision > 0),
    at                    TEXT    NOT NULL,
    kind                  TEXT    NOT NULL,
    api_key_id            BLOB, -- the actor, if it was a caller
    operator              TEXT, -- the actor, if it was an operator whose name is known; personal data
    request_id            TEXT, -- personal data, if the caller chose it
    customers_created     BLOB,
    customers_updated     BLOB,
    customers_deleted     BLOB,
    devices_created       BLOB,
    devices_updated       BLOB,
    devices_deleted       BLOB,
    assigned_customers    BLOB,
    assigned_devices      BLOB,
    unassigned_customers  BLOB,
    unassigned_devices    BLOB,
    PRIMARY KEY (organization_id, revision)
) STRICT;

-- Which history this is. A restored database goes on with other changes under the same revisions, so it needs another id.
CREATE TABLE history (
    only_row  INTEGER NOT NULL PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    id        BLOB    NOT NULL,
    timeline  INTEGER -- PostgreSQL's alone
) STRICT;

INSERT INTO history (id) VALUES (randomblob(16));

-- The baseline: what exists is the first changes of each organization, at most 10,000 ids or pairs each.
INSERT INTO change_log (organization_id, revision, at, kind, customers_created)
SELECT
    organization_id,
    row_number() OVER (PARTITION BY organization_id ORDER BY chunk),
    strftime('%Y-%m-%dT%H:%M:%SZ'),
    'baseline',
    unhex(group_concat(hex(id), '' ORDER BY id))
FROM (
    SELECT organization_id, id, (row_number() OVER (PARTITION BY organization_id ORDER BY id) - 1) / 10000 AS chunk
    FROM customer
)
GROUP BY organization_id, chunk;

INSERT INTO change_log (organization_id, revision, at, kind, devices_created)
SELECT
    organization_id,
    coalesce((SELECT max(log.revision) FROM change_log AS log WHERE log.organization_id = numbered.organization_id), 0)
        + row_number() OVER (PARTITION BY organization_id ORDER BY chunk),
    strftime('%Y-%m-%dT%H:%M:%SZ'),
    'baseline',
    unhex(group_concat(hex(id), '' ORDER BY id))
FROM (
    SELECT organization_id, id, (row_number() OVER (PARTITION BY organization_id ORDER BY id) - 1) / 10000 AS chunk
    FROM device
) AS numbered
GROUP BY organization_id, chunk;

INSERT INTO change_log (organization_id, revision, at, kind, assigned_customers, assigned_devices)
SELECT
    organization_id,
    (SELECT max(log.revision) FROM change_log AS log WHERE log.organization_id = numbered.organization_id)
        + row_number() OVER (PARTITION BY organization_id ORDER BY chunk),
    strftime('%Y-%m-%dT%H:%M:%SZ'),
    'baseline',
    unhex(group_concat(hex(customer_id), '' ORDER BY customer_id, device_id)),
    unhex(group_concat(hex(device_id), '' ORDER BY customer_id, device_id))
FROM (
    SELECT
        organization_id,
        customer_id,
        device_id,
        (row_number() OVER (PARTITION BY organization_id ORDER BY customer_id, device_id) - 1) / 10000 AS chunk
    FROM device_assignment
) AS numbered
GROUP BY organization_id, chunk;

-- The foreign keys of assignments go: SQLite drops one only with its table. Writers of one organization are serial now, so a
-- customer or a device that a writer has read is still there when it commits. What is left is a guard against statements that
-- are not the service's.
CREATE TABLE device_assignment_new (
    organization_id  BLOB NOT NULL,
    customer_id      BLOB NOT NULL,
    device_id        BLOB NOT NULL,
    created_at       TEXT NOT NULL,
    PRIMARY KEY (organization_id, customer_id, device_id)
) STRICT, WITHOUT ROWID;

INSERT INTO device_assignment_new SELECT organization_id, customer_id, device_id, created_at FROM device_assignment
ORDER BY organization_id, customer_id, device_id;

DROP TABLE device_assignment;
ALTER TABLE device_assignment_new RENAME TO device_assignment;
CREATE INDEX device_assignment_device ON device_assignment (organization_id, device_id);

CREATE TRIGGER customer_with_assignments_is_not_deleted BEFORE DELETE ON customer
WHEN EXISTS (SELECT 1 FROM device_assignment AS a WHERE a.organization_id = OLD.organization_id AND a.customer_id = OLD.id)
BEGIN
    SELECT raise(ABORT, 'the customer still has assignments');
END;

CREATE TRIGGER customer_with_assignments_keeps_its_key BEFORE UPDATE OF organization_id, id ON customer
WHEN (NEW.organization_id, NEW.id) <> (OLD.organization_id, OLD.id)
    AND EXISTS (SELECT 1 FROM device_assignment AS a WHERE a.organization_id = OLD.organization_id AND a.customer_id = OLD.id)
BEGIN
    SELECT raise(ABORT, 'the customer still has assignments');
END;

CREATE TRIGGER device_with_assignments_is_not_deleted BEFORE DELETE ON device
WHEN EXISTS (SELECT 1 FROM device_assignment AS a WHERE a.organization_id = OLD.organization_id AND a.device_id = OLD.id)
BEGIN
    SELECT raise(ABORT, 'the device still has assignments');
END;

CREATE TRIGGER device_with_assignments_keeps_its_key BEFORE UPDATE OF organization_id, id ON device
WHEN (NEW.organization_id, NEW.id) <> (OLD.organization_id, OLD.id)
    AND EXISTS (SELECT 1 FROM device_assignment AS a WHERE a.organization_id = OLD.organization_id AND a.device_id = OLD.id)
BEGIN
    SELECT raise(ABORT, 'the device still has assignments');
END;
