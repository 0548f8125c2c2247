-- The change log: one ordered history for each organization. From here on every change of customers, devices and assignments is
-- a row of it, written in the transaction that makes the change.

-- All locks first: a migration that cannot have them fails before it has done anything, and not after it has kept writers waiting.
LOCK TABLE customer, device, device_assignment IN ACCESS EXCLUSIVE MODE;

-- Every change of an organization, numbered without gaps. The primary key is what keeps writers serial: a writer numbers its
-- changes from the newest one that it has read, and the key refuses them if somebody else committed a change in between.
--
-- Effects are ids alone: erasing a customer or a device erases its personal data without an edit of the log. A pair is a
-- customer and a device at the same position of two arrays; an array of one id stands for every position.
CREATE TABLE change_log (
    organization_id       uuid        NOT NULL,
    revision              bigint      NOT NULL CHECK (revision > 0),
    at                    timestamptz NOT NULL,
    kind                  text        COLLATE "C" NOT NULL,
    api_key_id            uuid,                     -- the actor, if it was a caller
    operator              text        COLLATE "C",  -- the actor, if it was an operator whose name is known; personal data
    request_id            text        COLLATE "C",  -- personal data, if the caller chose it
    customers_created     uuid[],
    customers_updated     uuid[],
    customers_deleted     uuid[],
    devices_created       uuid[],
    devices_updated       uuid[],
    devices_deleted       uuid[],
    assigned_customers    uuid[],
    assigned_devices      uuid[],
    unassigned_customers  uuid[],
    unassigned_devices    uuid[],
    PRIMARY KEY (organization_id, revision)
);

-- Ids do not compress well enough to be worth the time.
ALTER TABLE change_log
    ALTER COLUMN customers_created SET STORAGE EXTERNAL,
    ALTER COLUMN devices_created SET STORAGE EXTERNAL,
    ALTER COLUMN devices_updated SET STORAGE EXTERNAL,
    ALTER COLUMN assigned_customers SET STORAGE EXTERNAL,
    ALTER COLUMN assigned_devices SET STORAGE EXTERNAL,
    ALTER COLUMN unassigned_customers SET STORAGE EXTERNAL,
    ALTER COLUMN unassigned_devices SET STORAGE EXTERNAL;

-- Which history this is. A restored database goes on with other changes under the same revisions, so it needs another id.
CREATE TABLE history (
    only_row  boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    id        uuid    NOT NULL,
    timeline  integer -- PostgreSQL's timeline when the history began
);

INSERT INTO history (id, timeline) VALUES (gen_random_uuid(), NULL);

-- The fence: instances of the version before write past the log, and are refused. This version sets
-- device_assignment.log on its connections. The SQLSTATE is that of a server that is shutting down, after which they answer
-- UNAVAILABLE.
CREATE FUNCTION require_change_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('device_assignment.log', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'a connection without device_assignment.log = on must not write past the change log'
            USING ERRCODE = '57P01', HINT = 'Upgrade device-assignment to the version that this schema was made for.';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER require_change_log BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON customer
    FOR EACH STATEMENT EXECUTE FUNCTION require_change_log();
CREATE TRIGGER require_change_log BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON device
    FOR EACH STATEMENT EXECUTE FUNCTION require_change_log();
CREATE TRIGGER require_change_log BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON device_assignment
    FOR EACH STATEMENT EXECUTE FUNCTION require_change_log();

-- The baseline: what exists is the first changes of each organization, at most 10,000 ids or pairs each. The triggers have
-- waited for every transaction that wrote these tables, and keep further ones out until the end of this one.
INSERT INTO change_log (organization_id, revision, at, kind, customers_created)
SELECT organization_id, row_number() OVER (PARTITION BY organization_id ORDER BY chunk), now(), 'baseline', array_agg(id ORDER BY id)
FROM (
    SELECT organization_id, id, (row_number() OVER (PARTITION BY organization_id ORDER BY id) - 1) / 10000 AS chunk
    FROM customer
) AS numbered
GROUP BY organization_id, chunk;

INSERT INTO change_log (organization_id, revision, at, kind, devices_created)
SELECT
    organization_id,
    coalesce((SELECT max(log.revision) FROM change_log AS log WHERE log.organization_id = numbered.organization_id), 0)
        + row_number() OVER (PARTITION BY organization_id ORDER BY chunk),
    now(),
    'baseline',
    array_agg(id ORDER BY id)
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
    now(),
    'baseline',
    array_agg(customer_id ORDER BY customer_id, device_id),
    array_agg(device_id ORDER BY customer_id, device_id)
FROM (
    SELECT
        organization_id,
        customer_id,
        device_id,
        (row_number() OVER (PARTITION BY organization_id ORDER BY customer_id, device_id) - 1) / 10000 AS chunk
    FROM device_assignment
) AS numbered
GROUP BY organization_id, chunk;

-- The foreign keys of assignments locked two rows for each assignment. Writers of one organization are serial now, so a
-- customer or a device that a writer has read is still there when it commits. What is left is a guard against statements that
-- are not the service's.
ALTER TABLE device_assignment
    DROP CONSTRAINT device_assignment_organization_id_customer_id_fkey,
    DROP CONSTRAINT device_assignment_organization_id_device_id_fkey;

CREATE FUNCTION refuse_orphans() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.organization_id, NEW.id) = (OLD.organization_id, OLD.id) THEN
            RETURN NEW;
        END IF;
    END IF;
    IF TG_TABLE_NAME = 'customer' THEN
        PERFORM FROM device_assignment AS a WHERE a.organization_id = OLD.organization_id AND a.customer_id = OLD.id LIMIT 1;
    ELSE
        PERFORM FROM device_assignment AS a WHERE a.organization_id = OLD.organization_id AND a.device_id = OLD.id LIMIT 1;
    END IF;
    IF FOUND THEN
        RAISE EXCEPTION 'the % still has assignments', TG_TABLE_NAME USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;

CREATE TRIGGER refuse_orphans BEFORE DELETE OR UPDATE OF organization_id, id ON customer
    FOR EACH ROW EXECUTE FUNCTION refuse_orphans();
CREATE TRIGGER refuse_orphans BEFORE DELETE OR UPDATE OF organization_id, id ON device
    FOR EACH ROW EXECUTE FUNCTION refuse_orphans();
