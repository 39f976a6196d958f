-- What an update in progress makes of an instance, when its broker has done it.
CREATE TABLE market.instance_changes (
    instance_id      text PRIMARY KEY REFERENCES market.instances ON DELETE CASCADE,
    plan_id          text NOT NULL REFERENCES market.plans,
    maintenance_info jsonb, -- NULL: the broker tells of none
    parameters       bytea  -- sealed; NULL: they stay
);

ALTER TABLE market.instances
    ADD COLUMN maintenance_info jsonb, -- the version of the plan that it has; NULL: the broker tells of none
    ADD COLUMN dashboard_url text NOT NULL DEFAULT '';
