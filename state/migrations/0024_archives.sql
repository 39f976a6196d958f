-- What is kept of the backups of instances that were deleted: it outlives them.
CREATE TABLE broker.archives (
    instance_id     text PRIMARY KEY,
    service_id      text NOT NULL,
    plan_id         text NOT NULL,
    organization_id text NOT NULL,
    space_id        text NOT NULL,
    name            text NOT NULL, -- the users' for it when it was made; '': not told
    backend         text NOT NULL,
    engine          text NOT NULL,
    version         text NOT NULL,
    storage         bigint NOT NULL,
    key             bytea NOT NULL, -- sealed: what is kept is encrypted with it
    deleted_at      timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE broker.instances ADD COLUMN name text NOT NULL DEFAULT ''; -- the users' for it when it was made
