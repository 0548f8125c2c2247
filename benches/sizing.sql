-- Fills an empty, migrated PostgreSQL database and shows how large its tables and indexes are: the figures in docs/SCALING.md.
--
--   psql "$DATABASE_URL" -v devices=10000000 -f benches/sizing.sql
--
-- One organization; three customers for ten devices, each device with one owner, and a change of the log for three assignments.
-- 10 million devices took 13 minutes.
\set ON_ERROR_STOP on
-- What the service sets on its connections: others may not write past the change log.
SET device_assignment.log = 'on';
SET synchronous_commit = off;

INSERT INTO organization (id, name, created_at) VALUES ('01900000-0000-7000-8000-000000000001', 'sizing', now());

-- An id as the service makes them: a UUIDv7, so in the order of time, with four in each millisecond.
CREATE FUNCTION pg_temp.id(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex(1795000000000 + n / 4), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid
$$;

INSERT INTO customer (organization_id, id, email, name, created_at)
SELECT '01900000-0000-7000-8000-000000000001', pg_temp.id(n), 'customer-' || lpad(n::text, 8, '0') || '@example.com', 'Customer ' || n, now()
FROM generate_series(1, :devices * 3 / 10) AS n;

INSERT INTO device (organization_id, id, identifier, device_type, created_at)
SELECT '01900000-0000-7000-8000-000000000001', pg_temp.id(1000000000 + n), 'SN-' || lpad(n::text, 10, '0'), 'sensor', now()
FROM generate_series(1, :devices) AS n;

-- Owners at random.
INSERT INTO device_assignment (organization_id, customer_id, device_id, created_at)
SELECT
    '01900000-0000-7000-8000-000000000001',
    pg_temp.id(1 + (n::bigint * 7919) % (:devices * 3 / 10)),
    pg_temp.id(1000000000 + n),
    now()
FROM generate_series(1, :devices) AS n;

INSERT INTO change_log (organization_id, revision, at, kind, api_key_id, request_id, assigned_customers, assigned_devices)
SELECT
    '01900000-0000-7000-8000-000000000001',
    n,
    now(),
    'assign',
    pg_temp.id(7),
    gen_random_uuid()::text,
    ARRAY[pg_temp.id(n)],
    ARRAY[pg_temp.id(999999998 + 3 * n), pg_temp.id(999999999 + 3 * n), pg_temp.id(1000000000 + 3 * n)]
FROM generate_series(1, :devices / 3) AS n;

VACUUM ANALYZE;

SELECT
    relation.relname AS "table or index",
    owner.reltuples::bigint AS rows,
    pg_relation_size(relation.oid) AS bytes,
    round(pg_relation_size(relation.oid) / nullif(owner.reltuples, 0)::numeric, 1) AS "bytes a row"
FROM pg_class AS relation
LEFT JOIN pg_index AS index ON index.indexrelid = relation.oid
JOIN pg_class AS owner ON owner.oid = coalesce(index.indrelid, relation.oid)
WHERE owner.relname IN ('customer', 'device', 'device_assignment', 'change_log')
ORDER BY owner.relname, relation.relkind DESC, relation.relname;
