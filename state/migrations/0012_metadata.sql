-- What users note about things: a JSON object of texts each. Lists are narrowed by labels.
ALTER TABLE market.organizations ADD COLUMN labels jsonb NOT NULL DEFAULT '{}', ADD COLUMN annotations jsonb NOT NULL DEFAULT '{}';
ALTER TABLE market.spaces        ADD COLUMN labels jsonb NOT NULL DEFAULT '{}', ADD COLUMN annotations jsonb NOT NULL DEFAULT '{}';
ALTER TABLE market.apps          ADD COLUMN labels jsonb NOT NULL DEFAULT '{}', ADD COLUMN annotations jsonb NOT NULL DEFAULT '{}';
ALTER TABLE market.offerings     ADD COLUMN labels jsonb NOT NULL DEFAULT '{}', ADD COLUMN annotations jsonb NOT NULL DEFAULT '{}';
ALTER TABLE market.plans         ADD COLUMN labels jsonb NOT NULL DEFAULT '{}', ADD COLUMN annotations jsonb NOT NULL DEFAULT '{}';
ALTER TABLE market.instances     ADD COLUMN labels jsonb NOT NULL DEFAULT '{}', ADD COLUMN annotations jsonb NOT NULL DEFAULT '{}';
ALTER TABLE market.bindings      ADD COLUMN labels jsonb NOT NULL DEFAULT '{}', ADD COLUMN annotations jsonb NOT NULL DEFAULT '{}';
ALTER TABLE uaa.users            ADD COLUMN labels jsonb NOT NULL DEFAULT '{}', ADD COLUMN annotations jsonb NOT NULL DEFAULT '{}';

-- Offerings and plans are too few to need one.
CREATE INDEX organizations_by_label ON market.organizations USING gin (labels);
CREATE INDEX spaces_by_label        ON market.spaces        USING gin (labels);
CREATE INDEX apps_by_label          ON market.apps          USING gin (labels);
CREATE INDEX instances_by_label     ON market.instances     USING gin (labels);
CREATE INDEX bindings_by_label      ON market.bindings      USING gin (labels);
CREATE INDEX users_by_label         ON uaa.users            USING gin (labels);

-- Whoever sees everything lists it in these orders.
CREATE INDEX spaces_by_creation ON market.spaces (created_at, id);
CREATE INDEX spaces_by_name     ON market.spaces (name, id);
CREATE INDEX apps_by_creation   ON market.apps (created_at, id);
CREATE INDEX apps_by_name       ON market.apps (name, id);
CREATE INDEX roles_by_creation  ON market.roles (created_at, id);
