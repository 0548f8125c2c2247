-- Writes groups that create nothing except assignments, in a transaction of its own: all in one trip to the driver's thread.
--
-- Parameters
--   ?1  text     time of the changes
--   ?2  text     entries of the change log in the order of their revisions, each an array: organization, revision, kind, API key of
--                the caller, name of the operator, id of the request, customers, devices. Ids are hexadecimal digits, lists of them
--                one after the other; absent values are null
--   ?3  text     assignments, ids in hexadecimal: [[organization, customer id, device id], ...]
--
-- The primary keys reject what another process has written since the revision was read. Every error ends the transaction (OR
-- ROLLBACK), and the rest is not run. Each statement names all parameters: the driver does not bind them reliably otherwise.
BEGIN IMMEDIATE;

WITH parameter (now, entries, pairs) AS (SELECT ?1, ?2, ?3)
INSERT OR ROLLBACK INTO change_log (
    organization_id, revision, at, kind, api_key_id, operator, request_id, assigned_customers, assigned_devices
)
SELECT
    unhex(entry.value ->> 0),
    entry.value ->> 1,
    parameter.now,
    entry.value ->> 2,
    unhex(entry.value ->> 3),
    entry.value ->> 4,
    entry.value ->> 5,
    unhex(entry.value ->> 6),
    unhex(entry.value ->> 7)
FROM parameter
CROSS JOIN json_each(parameter.entries) AS entry;

-- If entries are missing: no organization can be without an id.
WITH parameter (now, entries, pairs) AS (SELECT ?1, ?2, ?3)
INSERT OR ROLLBACK INTO organization (id)
SELECT NULL FROM parameter WHERE changes() <> json_array_length(parameter.entries);

WITH parameter (now, entries, pairs) AS (SELECT ?1, ?2, ?3)
INSERT OR ROLLBACK INTO device_assignment (organization_id, customer_id, device_id, created_at)
SELECT
    unhex(pair.value ->> 0),
    unhex(pair.value ->> 1),
    unhex(pair.value ->> 2),
    parameter.now
FROM parameter
CROSS JOIN json_each(parameter.pairs) AS pair;

-- If assignments are missing.
WITH parameter (now, entries, pairs) AS (SELECT ?1, ?2, ?3)
INSERT OR ROLLBACK INTO organization (id)
SELECT NULL FROM parameter WHERE changes() <> json_array_length(parameter.pairs);

COMMIT;
