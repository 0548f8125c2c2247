-- Whether a customer owns a device is asked with all three columns. Of two indexes that seem to do alike, the planner may take
-- this one, and would read all owners of the device if the customer were not in it.
DROP INDEX device_assignment_device;
CREATE INDEX device_assignment_device ON device_assignment (organization_id, device_id, customer_id);
