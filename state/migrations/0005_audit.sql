CREATE SCHEMA audit;

-- Events name what may be gone, so nothing here refers to another table.
CREATE TABLE audit.events (
    id              text PRIMARY KEY,
    type            text NOT NULL,
    actor_id        text NOT NULL, -- '' for nobody who is known
    actor_name      text NOT NULL,
    actor_is_client boolean NOT NULL,
    address         text NOT NULL,
    target_id       text NOT NULL,
    target_type     text NOT NULL,
    target_name     text NOT NULL,
    space_id        text NOT NULL,
    organization_id text NOT NULL,
    data            jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX events_by_creation ON audit.events (created_at, id);
CREATE INDEX events_by_target ON audit.events (target_id, created_at);
CREATE INDEX events_by_space ON audit.events (space_id, created_at);
CREATE INDEX events_by_organization ON audit.events (organization_id, created_at);

ALTER TABLE market.jobs
    ADD COLUMN completed jsonb; -- the event that is recorded when the job completes
