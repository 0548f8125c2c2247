-- Removes assignments.
--
-- Parameters
--   $1  uuid    organization
--   $2  uuid[]  customers
--   $3  uuid[]  devices, each of the customer at the same position
--
-- Each row is looked up by its own subquery: with a join, a plan made while the table is small reads all rows of the
-- organization.
DELETE FROM device_assignment
WHERE ctid = ANY (
    ARRAY(
        SELECT (
            SELECT a.ctid
            FROM device_assignment AS a
            WHERE a.organization_id = $1 AND a.customer_id = pair.customer_id AND a.device_id = pair.device_id
        )
        FROM unnest($2::uuid[], $3::uuid[]) AS pair (customer_id, device_id)
    )
);
