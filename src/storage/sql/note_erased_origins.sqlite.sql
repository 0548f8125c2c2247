-- Notes how far the operators and request ids of an organization's changes are emptied.
--
-- Parameters
--   ?1  blob     organization
--   ?2  integer  the revision of the last emptied change
--
-- In sqlite3: .parameter set ?1 "x'0190...'" and so on, then this file.
UPDATE organization
SET origins_erased_through = ?2
WHERE id = ?1 AND origins_erased_through < ?2;
