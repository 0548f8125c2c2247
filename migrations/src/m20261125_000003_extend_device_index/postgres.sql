-- A lookup of one assignment uses all three columns. The planner may choose this index instead of the primary key; without
-- the customer in it, it would read all owners of the device.
DROP INDEX device_assignment_device;
CREATE INDEX device_assignment_device ON device_assignment (organization_id, device_id, customer_id);
