-- An offering knows whose it is, and what its broker calls it. What there is is from the one broker that there
-- was, which called it by the guids that the market has for it.
ALTER TABLE market.offerings
    ADD COLUMN broker_id text REFERENCES market.brokers,
    ADD COLUMN service_id text, -- in the broker's catalog
    ADD COLUMN requires text[] NOT NULL DEFAULT '{}',
    ADD COLUMN bindable boolean NOT NULL DEFAULT true,
    ADD COLUMN instances_retrievable boolean NOT NULL DEFAULT true,
    ADD COLUMN bindings_retrievable boolean NOT NULL DEFAULT false,
    ADD COLUMN plan_updateable boolean NOT NULL DEFAULT false,
    ADD COLUMN allow_context_updates boolean NOT NULL DEFAULT false;
UPDATE market.offerings SET broker_id = (SELECT id FROM market.brokers), service_id = id;
ALTER TABLE market.offerings
    ALTER COLUMN broker_id SET NOT NULL,
    ALTER COLUMN service_id SET NOT NULL,
    ADD CONSTRAINT offering_in_catalog UNIQUE (broker_id, service_id);

ALTER TABLE market.plans
    ADD COLUMN service_plan_id text, -- in the broker's catalog
    ADD COLUMN bindable boolean NOT NULL DEFAULT true,
    ADD COLUMN plan_updateable boolean NOT NULL DEFAULT false,
    ADD COLUMN maintenance_info jsonb,                     -- NULL: the broker tells of none
    ADD COLUMN maximum_polling bigint NOT NULL DEFAULT 0;  -- nanoseconds; 0: as long as it takes
UPDATE market.plans SET service_plan_id = id;
ALTER TABLE market.plans
    ALTER COLUMN service_plan_id SET NOT NULL,
    ADD CONSTRAINT plan_in_catalog UNIQUE (offering_id, service_plan_id);

ALTER TABLE market.usage_events ADD COLUMN broker_id text, ADD COLUMN broker_name text;
UPDATE market.usage_events SET (broker_id, broker_name) = (SELECT id, name FROM market.brokers);
ALTER TABLE market.usage_events ALTER COLUMN broker_id SET NOT NULL, ALTER COLUMN broker_name SET NOT NULL;
