-- Finds tables with rows of organizations that do not exist. On Citus, which has no recursion over several servers: each server
-- reads the index of its part of a table.
--
-- Result: one row for each such table and organization
--   name             the name of the table
--   organization_id  uuid
SELECT DISTINCT 'customer' AS name, stored.organization_id
FROM customer AS stored
WHERE NOT EXISTS (SELECT 1 FROM organization WHERE organization.id = stored.organization_id)
UNION ALL
SELECT DISTINCT 'device', stored.organization_id
FROM device AS stored
WHERE NOT EXISTS (SELECT 1 FROM organization WHERE organization.id = stored.organization_id)
UNION ALL
SELECT DISTINCT 'device_assignment', stored.organization_id
FROM device_assignment AS stored
WHERE NOT EXISTS (SELECT 1 FROM organization WHERE organization.id = stored.organization_id)
UNION ALL
SELECT DISTINCT 'change_log', stored.organization_id
FROM change_log AS stored
WHERE NOT EXISTS (SELECT 1 FROM organization WHERE organization.id = stored.organization_id)
ORDER BY organization_id, name;
