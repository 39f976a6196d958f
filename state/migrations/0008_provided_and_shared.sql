-- A user-provided instance is what its user says it is: no plan, no broker, and no operation that takes time.
ALTER TABLE market.instances
    ADD COLUMN type              text NOT NULL DEFAULT 'managed',
    ADD COLUMN credentials       bytea, -- sealed; of user-provided ones
    ADD COLUMN syslog_drain_url  text NOT NULL DEFAULT '',
    ADD COLUMN route_service_url text NOT NULL DEFAULT '',
    ALTER COLUMN plan_id DROP NOT NULL,
    ADD CONSTRAINT instance_is_managed_or_user_provided CHECK (
        (type = 'managed' AND plan_id IS NOT NULL AND credentials IS NULL AND syslog_drain_url = '' AND route_service_url = '')
        OR (type = 'user-provided' AND plan_id IS NULL AND credentials IS NOT NULL AND parameters IS NULL AND op_state = 'succeeded'));

-- What a binding has of its instance is as it was when the binding was made.
ALTER TABLE market.bindings ADD COLUMN syslog_drain_url text NOT NULL DEFAULT '';
CREATE INDEX bindings_by_app ON market.bindings (app_id);

-- A share lends an instance to another space. Its name is taken there as long as the share lasts.
CREATE TABLE market.shares (
    id          text PRIMARY KEY,
    instance_id text NOT NULL REFERENCES market.instances ON DELETE CASCADE,
    space_id    text NOT NULL CONSTRAINT share_space REFERENCES market.spaces ON DELETE CASCADE,
    ending      boolean NOT NULL DEFAULT false, -- its bindings are being removed, and no new ones are made
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT share_once UNIQUE (instance_id, space_id)
);
CREATE INDEX shares_by_space ON market.shares (space_id);
