CREATE TABLE market.quotas (
    id              text PRIMARY KEY,
    organization_id text REFERENCES market.organizations ON DELETE CASCADE, -- whose spaces it is for; NULL: it is for organizations
    name            text NOT NULL,
    paid_plans      boolean NOT NULL,
    limits          jsonb NOT NULL, -- by name; what is missing is not limited
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT quota_name UNIQUE NULLS NOT DISTINCT (organization_id, name),
    UNIQUE (organization_id, id)
);

-- What the guide's organizations begin with: a trial. backstay.DefaultQuota is this row.
INSERT INTO market.quotas (id, name, paid_plans, limits) VALUES ('5f0c6d1e-2b7a-4c7e-9a51-0d3c8e6f4b07', 'default', false,
    '{"total_memory_in_mb": 5120, "total_service_instances": 10, "total_routes": 1000}');

ALTER TABLE market.organizations
    ADD COLUMN quota_id text NOT NULL DEFAULT '5f0c6d1e-2b7a-4c7e-9a51-0d3c8e6f4b07' CONSTRAINT organization_quota REFERENCES market.quotas;
CREATE INDEX organizations_by_quota ON market.organizations (quota_id);

ALTER TABLE market.spaces
    ADD COLUMN quota_id text,
    ADD CONSTRAINT space_quota FOREIGN KEY (organization_id, quota_id) REFERENCES market.quotas (organization_id, id);
CREATE INDEX spaces_by_quota ON market.spaces (quota_id);

-- A plan that is not public is for the organizations that it is enabled for.
ALTER TABLE market.plans ADD COLUMN public boolean NOT NULL DEFAULT true;
CREATE TABLE market.plan_organizations (
    plan_id         text NOT NULL REFERENCES market.plans ON DELETE CASCADE,
    organization_id text NOT NULL CONSTRAINT plan_organization REFERENCES market.organizations ON DELETE CASCADE,
    PRIMARY KEY (plan_id, organization_id)
);
CREATE INDEX plan_organizations_by_organization ON market.plan_organizations (organization_id);

-- An offering that is off sale altogether may be one that "private" has taken off; "private" now means
-- hidden, and it must not come back for everybody.
UPDATE market.plans SET public = false WHERE offering_id IN (SELECT id FROM market.offerings WHERE NOT available);
