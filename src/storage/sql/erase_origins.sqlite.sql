-- Empties the operators and the request ids of old changes.
--
-- Parameters
--   ?1  blob     organization
--   ?2  integer  the revision before the first of these changes
--   ?3  integer  the revision of the last
--
-- In sqlite3: .parameter set ?1 "x'0190...'" and so on, then this file.
UPDATE change_log
SET operator = NULL, request_id = NULL
WHERE organization_id = ?1
    AND revision > ?2
    AND revision <= ?3
    AND (operator IS NOT NULL OR request_id IS NOT NULL);
