ALTER TABLE broker.bindings ADD COLUMN parameters bytea; -- sealed
