-- Begins a new history.
--
-- Parameters
--   ?1  blob  its id
--
-- In sqlite3: .parameter set ?1 "x'0190...'", then this file.
UPDATE history SET id = ?1;
