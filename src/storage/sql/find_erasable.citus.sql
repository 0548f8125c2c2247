-- Finds the next old changes whose operator and request id are to be emptied: of one organization, at most as many as a chunk has.
-- On Citus, which needs the log as the outer table.
--
-- Parameters
--   $1  uuid         the organization to begin with; those before it are done
--   $2  timestamptz  changes before this time are old
--   $3  bigint       the most changes in a chunk
--
-- Result: at most one row
--   organization_id  uuid
--   after            bigint, the revision before the chunk
--   through          bigint, the last revision of the chunk: the ones that follow are no part of it, or not old
--
-- In psql: PREPARE find_erasable (uuid, timestamptz, bigint) AS, then this file.
SELECT
    log.organization_id,
    organization.origins_erased_through AS after,
    (
        SELECT coalesce(min(chunk.revision) FILTER (WHERE chunk.at >= $2) - 1, max(chunk.revision))
        FROM change_log AS chunk
        WHERE chunk.organization_id = log.organization_id
            AND chunk.revision > organization.origins_erased_through
            AND chunk.revision <= organization.origins_erased_through + $3
    ) AS through
FROM organization
INNER JOIN change_log AS log
    -- Revisions have no gaps, so this looks up one row.
    ON log.organization_id = organization.id AND log.revision = organization.origins_erased_through + 1
WHERE log.organization_id >= $1 AND log.at < $2
ORDER BY log.organization_id
LIMIT 1;
