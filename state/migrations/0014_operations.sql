-- An operation is a row of its own; an instance keeps what was accepted until what an operation wants serves.
CREATE TABLE broker.operations (
    seq         bigint GENERATED ALWAYS AS IDENTITY, -- the order in which they were accepted
    id          text PRIMARY KEY,
    instance_id text NOT NULL CONSTRAINT operation_instance REFERENCES broker.instances ON DELETE CASCADE,
    type        text NOT NULL, -- what is done, the broker's table of work says
    cause       text NOT NULL CHECK (cause IN ('user', 'maintenance', 'backup', 'restore')),
    not_before  timestamptz,
    state       text NOT NULL CHECK (state IN ('waiting', 'in progress', 'succeeded', 'failed')),
    description text NOT NULL,
    failure     text NOT NULL DEFAULT '', -- why what is wanted cannot be
    plan_id     text NOT NULL DEFAULT '', -- wanted
    parameters  bytea, -- wanted; sealed
    spec        bytea, -- wanted; sealed
    generation  bigint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CHECK (spec IS NULL OR state IN ('waiting', 'in progress')) -- it holds a key, which goes with the need for it
);
CREATE UNIQUE INDEX operation_in_progress ON broker.operations (instance_id) WHERE state = 'in progress';
CREATE INDEX operations_of_instance ON broker.operations (instance_id, seq);

ALTER TABLE broker.instances RENAME COLUMN offering_id TO service_id;
ALTER TABLE broker.instances
    ALTER COLUMN spec DROP NOT NULL, -- null until it has served
    ADD COLUMN backend           text NOT NULL DEFAULT 'local',
    ADD COLUMN generation        bigint NOT NULL DEFAULT 0, -- of spec
    ADD COLUMN newest_generation bigint NOT NULL DEFAULT 1, -- the last that the backend may have been told of
    ADD COLUMN endpoint_host     text NOT NULL DEFAULT '',
    ADD COLUMN endpoint_port     int NOT NULL DEFAULT 0;

-- Until now there was one generation, and only a create wanted anything.
INSERT INTO broker.operations
    (id, instance_id, type, cause, state, description, plan_id, parameters, spec, generation, created_at, updated_at)
SELECT operation_id, id, op_type, 'user', op_state, op_description,
    CASE WHEN op_type = 'create' THEN plan_id ELSE '' END,
    CASE WHEN op_type = 'create' AND op_state = 'in progress' THEN parameters END,
    CASE WHEN op_type = 'create' AND op_state = 'in progress' THEN spec END,
    CASE WHEN op_type = 'create' THEN 1 ELSE 0 END,
    op_created_at, op_updated_at
FROM broker.instances;
UPDATE broker.instances SET generation = 1;
UPDATE broker.instances SET generation = 0, spec = NULL WHERE op_type = 'create' AND op_state <> 'succeeded';
ALTER TABLE broker.instances
    DROP COLUMN operation_id, DROP COLUMN op_type, DROP COLUMN op_state, DROP COLUMN op_description,
    DROP COLUMN op_created_at, DROP COLUMN op_updated_at,
    ALTER COLUMN newest_generation DROP DEFAULT,
    ADD CHECK ((spec IS NULL) = (generation = 0)),
    ADD CHECK (generation <= newest_generation);
