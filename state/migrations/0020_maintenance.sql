-- A change can wait for its instance's maintenance window. What was asked for is kept as it was asked until it is
-- done: what it comes to is agreed on when the window opens.
ALTER TABLE broker.operations
    ADD COLUMN asked_plan_id    text NOT NULL DEFAULT '',
    ADD COLUMN asked_plan_name  text NOT NULL DEFAULT '',
    ADD COLUMN asked_parameters bytea, -- sealed
    ADD COLUMN request_id       text NOT NULL DEFAULT '', -- of the request that it was accepted for
    ADD COLUMN maintenance_window text NOT NULL DEFAULT '', -- wanted
    ADD COLUMN backup_window      text NOT NULL DEFAULT ''; -- wanted
CREATE UNIQUE INDEX operation_waiting ON broker.operations (instance_id) WHERE state = 'waiting';

ALTER TABLE broker.instances
    ADD COLUMN maintenance_window text NOT NULL DEFAULT '', -- '': nobody has chosen one
    ADD COLUMN backup_window      text NOT NULL DEFAULT '',
    ADD COLUMN build              text NOT NULL DEFAULT '', -- that was seen to serve
    ADD COLUMN changed            bigint NOT NULL DEFAULT 0; -- by the broker of its own accord, when; see changes

-- Counts what the broker changes of its own accord. Whoever counts holds the row until the end of the transaction,
-- so that the numbers are seen in their order.
CREATE TABLE broker.changes (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    last   bigint NOT NULL
);
INSERT INTO broker.changes (last) VALUES (0);
CREATE INDEX instances_by_change ON broker.instances (changed) WHERE changed > 0;
