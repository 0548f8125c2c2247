-- Writes entries of the change log. The primary key refuses them if somebody else has committed a change of the organization
-- since the revision was read.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  time of the changes
--   ?3  text  the changes in the order of their revisions, each an array: revision, kind, API key of the caller, name of the
--             operator, id of the request, created customers, changed customers, deleted customers, created devices, changed
--             devices, deleted devices, customers and devices of created assignments, customers and devices of removed
--             assignments. Ids are hexadecimal digits, lists of them one after the other; absent values are null
INSERT INTO change_log (
    organization_id,
    revision,
    at,
    kind,
    api_key_id,
    operator,
    request_id,
    customers_created,
    customers_updated,
    customers_deleted,
    devices_created,
    devices_updated,
    devices_deleted,
    assigned_customers,
    assigned_devices,
    unassigned_customers,
    unassigned_devices
)
SELECT
    ?1,
    value ->> 0,
    ?2,
    value ->> 1,
    unhex(value ->> 2),
    value ->> 3,
    value ->> 4,
    unhex(value ->> 5),
    unhex(value ->> 6),
    unhex(value ->> 7),
    unhex(value ->> 8),
    unhex(value ->> 9),
    unhex(value ->> 10),
    unhex(value ->> 11),
    unhex(value ->> 12),
    unhex(value ->> 13),
    unhex(value ->> 14)
FROM json_each(?3);
