-- Finds the next old changes whose operator and request id are to be emptied: of one organization, at most as many as a chunk has.
--
-- Parameters
--   ?1  blob     the organization to begin with; those before it are done
--   ?2  text     changes before this time are old
--   ?3  integer  the most changes in a chunk
--
-- Result: at most one row
--   organization_id  blob
--   after            integer, the revision before the chunk
--   through          integer, the last revision of the chunk: the ones that follow are no part of it, or not old
--
-- In sqlite3: .parameter set ?1 "x'00'" and so on, then this file.
SELECT
    behind.id AS organization_id,
    behind.origins_erased_through AS after,
    (
        SELECT coalesce(min(chunk.revision) FILTER (WHERE chunk.at >= ?2) - 1, max(chunk.revision))
        FROM change_log AS chunk
        WHERE chunk.organization_id = behind.id
            AND chunk.revision > behind.origins_erased_through
            AND chunk.revision <= behind.origins_erased_through + ?3
    ) AS through
FROM (
    SELECT organization.id, organization.origins_erased_through
    FROM organization
    WHERE organization.id >= ?1
        -- Revisions have no gaps, so this looks up one row.
        AND (
            SELECT log.at < ?2
            FROM change_log AS log
            WHERE log.organization_id = organization.id AND log.revision = organization.origins_erased_through + 1
        )
    ORDER BY organization.id
    LIMIT 1
) AS behind;
