-- Reads the newest revision of an organization.
--
-- Parameters
--   ?1  blob  organization
--
-- Result: one row
--   revision  integer, 0 if nothing has changed yet
--
-- In sqlite3: .parameter set ?1 "x'0190...'", then this file.
SELECT coalesce(max(revision), 0) AS revision
FROM change_log
WHERE organization_id = ?1;
