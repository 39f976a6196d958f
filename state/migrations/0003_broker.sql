CREATE SCHEMA broker;

CREATE TABLE broker.instances (
    id              text PRIMARY KEY,
    offering_id     text NOT NULL,
    plan_id         text NOT NULL,
    organization_id text NOT NULL,
    space_id        text NOT NULL,
    parameters      bytea, -- sealed
    spec            bytea NOT NULL, -- sealed: it holds the key of the endpoint's certificate
    operation_id    text NOT NULL, -- fences a slow runner of an earlier operation
    op_type         text NOT NULL CHECK (op_type IN ('create', 'update', 'delete')),
    op_state        text NOT NULL CHECK (op_state IN ('in progress', 'succeeded', 'failed')),
    op_description  text NOT NULL,
    op_created_at   timestamptz NOT NULL DEFAULT now(),
    op_updated_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE broker.bindings (
    id          text PRIMARY KEY,
    instance_id text NOT NULL CONSTRAINT binding_instance REFERENCES broker.instances,
    username    text NOT NULL,
    password    bytea NOT NULL, -- sealed
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT binding_username UNIQUE (instance_id, username)
);
