-- Writes entries of the change log. The primary key refuses them if somebody else has committed a change of the organization
-- since the revision was read.
--
-- Parameters
--   $1   uuid         organization
--   $2   timestamptz  time of the changes
--   For each change, in the order of the revisions:
--   $3   bigint[]     revision
--   $4   text[]       kind
--   $5   uuid[]       API key of the caller, or null
--   $6   text[]       name of the operator, or null
--   $7   text[]       id of the request, or null
--   $8   text[]       created customers, as the text of a uuid[], or null; so are the following
--   $9   text[]       changed customers
--   $10  text[]       deleted customers
--   $11  text[]       created devices
--   $12  text[]       changed devices
--   $13  text[]       deleted devices
--   $14  text[]       customers of created assignments; one stands for all
--   $15  text[]       devices of created assignments
--   $16  text[]       customers of removed assignments; one stands for all
--   $17  text[]       devices of removed assignments
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
    $1,
    change.revision,
    $2,
    change.kind,
    change.api_key_id,
    change.operator,
    change.request_id,
    change.customers_created::uuid[],
    change.customers_updated::uuid[],
    change.customers_deleted::uuid[],
    change.devices_created::uuid[],
    change.devices_updated::uuid[],
    change.devices_deleted::uuid[],
    change.assigned_customers::uuid[],
    change.assigned_devices::uuid[],
    change.unassigned_customers::uuid[],
    change.unassigned_devices::uuid[]
FROM unnest(
    $3::bigint[],
    $4::text[],
    $5::uuid[],
    $6::text[],
    $7::text[],
    $8::text[],
    $9::text[],
    $10::text[],
    $11::text[],
    $12::text[],
    $13::text[],
    $14::text[],
    $15::text[],
    $16::text[],
    $17::text[]
) AS change (
    revision,
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
);
