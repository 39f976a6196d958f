CREATE SCHEMA market;

CREATE TABLE market.organizations (
    id         text PRIMARY KEY,
    name       text NOT NULL CONSTRAINT organization_name UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE market.spaces (
    id              text PRIMARY KEY,
    organization_id text NOT NULL CONSTRAINT space_organization REFERENCES market.organizations,
    name            text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT space_name UNIQUE (organization_id, name)
);

CREATE TABLE market.roles (
    id              text PRIMARY KEY,
    type            text NOT NULL,
    user_id         text NOT NULL,
    organization_id text REFERENCES market.organizations ON DELETE CASCADE,
    space_id        text REFERENCES market.spaces ON DELETE CASCADE,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT role_has_one_place CHECK ((organization_id IS NULL) <> (space_id IS NULL)),
    CONSTRAINT role_once UNIQUE NULLS NOT DISTINCT (type, user_id, organization_id, space_id)
);
CREATE INDEX roles_by_organization ON market.roles (organization_id);
CREATE INDEX roles_by_space ON market.roles (space_id);
CREATE INDEX roles_by_user ON market.roles (user_id);

CREATE TABLE market.apps (
    id          text PRIMARY KEY,
    space_id    text NOT NULL CONSTRAINT app_space REFERENCES market.spaces,
    name        text NOT NULL,
    environment bytea, -- sealed
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT app_name UNIQUE (space_id, name)
);

CREATE TABLE market.offerings (
    id                text PRIMARY KEY,
    name              text NOT NULL,
    description       text NOT NULL,
    documentation_url text NOT NULL,
    tags              text[] NOT NULL,
    shareable         boolean NOT NULL,
    available         boolean NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE market.plans (
    id          text PRIMARY KEY,
    offering_id text NOT NULL REFERENCES market.offerings,
    position    integer NOT NULL, -- where the catalog lists it
    name        text NOT NULL,
    description text NOT NULL,
    free        boolean NOT NULL,
    costs       jsonb NOT NULL,
    schemas     jsonb NOT NULL,
    available   boolean NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT plan_name UNIQUE (offering_id, name)
);

CREATE TABLE market.instances (
    id             text PRIMARY KEY,
    space_id       text NOT NULL CONSTRAINT instance_space REFERENCES market.spaces,
    plan_id        text NOT NULL REFERENCES market.plans,
    name           text NOT NULL,
    tags           text[] NOT NULL,
    parameters     bytea, -- sealed
    op_type        text NOT NULL CHECK (op_type IN ('create', 'update', 'delete')),
    op_state       text NOT NULL CHECK (op_state IN ('in progress', 'succeeded', 'failed')),
    op_description text NOT NULL,
    op_created_at  timestamptz NOT NULL DEFAULT now(),
    op_updated_at  timestamptz NOT NULL DEFAULT now(),
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT instance_name UNIQUE (space_id, name)
);
CREATE INDEX instances_by_plan ON market.instances (plan_id);
CREATE INDEX instances_by_creation ON market.instances (created_at, id);
CREATE INDEX instances_by_name ON market.instances (name, id);

CREATE TABLE market.bindings (
    id             text PRIMARY KEY,
    type           text NOT NULL,
    name           text NOT NULL, -- '' for an app's unnamed binding
    instance_id    text NOT NULL CONSTRAINT binding_instance REFERENCES market.instances,
    app_id         text CONSTRAINT binding_app REFERENCES market.apps,
    parameters     bytea, -- sealed
    credentials    bytea, -- sealed; NULL until the binding has been made
    op_type        text NOT NULL CHECK (op_type IN ('create', 'delete')),
    op_state       text NOT NULL CHECK (op_state IN ('in progress', 'succeeded', 'failed')),
    op_description text NOT NULL,
    op_created_at  timestamptz NOT NULL DEFAULT now(),
    op_updated_at  timestamptz NOT NULL DEFAULT now(),
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT binding_has_an_app_or_a_key_name
        CHECK ((type = 'app' AND app_id IS NOT NULL) OR (type = 'key' AND app_id IS NULL AND name <> ''))
);
CREATE UNIQUE INDEX binding_app_once ON market.bindings (app_id, instance_id) WHERE type = 'app';
CREATE UNIQUE INDEX binding_app_name ON market.bindings (app_id, name) WHERE type = 'app' AND name <> '';
CREATE UNIQUE INDEX binding_key_name ON market.bindings (instance_id, name) WHERE type = 'key';
CREATE INDEX bindings_by_instance ON market.bindings (instance_id);
CREATE INDEX bindings_by_creation ON market.bindings (created_at, id);

CREATE TABLE market.jobs (
    id         text PRIMARY KEY,
    operation  text NOT NULL,
    resource   text NOT NULL,
    state      text NOT NULL CHECK (state IN ('PROCESSING', 'POLLING', 'COMPLETE', 'FAILED')),
    kind       text NOT NULL DEFAULT '',
    sentence   text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT failed_job_says_why CHECK (state <> 'FAILED' OR sentence <> '')
);
