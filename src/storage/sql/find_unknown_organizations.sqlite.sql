-- Finds tables with rows of organizations that do not exist.
--
-- Result: one row for each such table and organization
--   name             the name of the table
--   organization_id  blob
--
-- Each step of the recursion looks up the next organization in the index, so that no table is read as a whole.
WITH RECURSIVE
customer_owner (id) AS (
    SELECT (SELECT organization_id FROM customer ORDER BY organization_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.organization_id FROM customer AS t WHERE t.organization_id > owner.id ORDER BY t.organization_id LIMIT 1)
    FROM customer_owner AS owner
    WHERE owner.id IS NOT NULL
),
device_owner (id) AS (
    SELECT (SELECT organization_id FROM device ORDER BY organization_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.organization_id FROM device AS t WHERE t.organization_id > owner.id ORDER BY t.organization_id LIMIT 1)
    FROM device_owner AS owner
    WHERE owner.id IS NOT NULL
),
device_assignment_owner (id) AS (
    SELECT (SELECT organization_id FROM device_assignment ORDER BY organization_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.organization_id FROM device_assignment AS t WHERE t.organization_id > owner.id ORDER BY t.organization_id LIMIT 1)
    FROM device_assignment_owner AS owner
    WHERE owner.id IS NOT NULL
),
change_log_owner (id) AS (
    SELECT (SELECT organization_id FROM change_log ORDER BY organization_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.organization_id FROM change_log AS t WHERE t.organization_id > owner.id ORDER BY t.organization_id LIMIT 1)
    FROM change_log_owner AS owner
    WHERE owner.id IS NOT NULL
),
owner (name, id) AS (
    SELECT 'customer', id FROM customer_owner
    UNION ALL
    SELECT 'device', id FROM device_owner
    UNION ALL
    SELECT 'device_assignment', id FROM device_assignment_owner
    UNION ALL
    SELECT 'change_log', id FROM change_log_owner
)
SELECT owner.name, owner.id
FROM owner
WHERE owner.id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM organization WHERE organization.id = owner.id)
ORDER BY owner.id, owner.name;
