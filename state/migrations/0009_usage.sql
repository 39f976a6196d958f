-- Who had what of which plan since when, with the names and prices of that moment, so that a bill stays
-- right whatever becomes of them. Like audit events, these outlive what they name. Numbers follow the
-- order of commits (see usageLock).
CREATE TABLE market.usage_events (
    number            bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    id                text PRIMARY KEY, -- of the first event of an instance: the instance's
    state             text NOT NULL CHECK (state IN ('CREATED', 'UPDATED', 'DELETED')),
    instance_id       text NOT NULL,
    instance_name     text NOT NULL,
    organization_id   text NOT NULL,
    organization_name text NOT NULL,
    space_id          text NOT NULL,
    space_name        text NOT NULL,
    plan_id           text NOT NULL,
    plan_name         text NOT NULL,
    offering_id       text NOT NULL,
    offering_name     text NOT NULL,
    costs             jsonb NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX usage_events_by_instance ON market.usage_events (instance_id, number);
CREATE INDEX usage_events_by_creation ON market.usage_events (created_at, number);

-- Since when usage is known without gaps; NULL: always has been. One row.
CREATE TABLE market.usage_horizon (since timestamptz);

-- Instances that are there already have cost since they were made. Of those that are gone nothing is known.
INSERT INTO market.usage_events (id, state, instance_id, instance_name, organization_id, organization_name,
    space_id, space_name, plan_id, plan_name, offering_id, offering_name, costs, created_at)
SELECT i.id, 'CREATED', i.id, i.name, o.id, o.name, s.id, s.name, p.id, p.name, f.id, f.name, p.costs, i.created_at
FROM market.instances i
    JOIN market.spaces s ON s.id = i.space_id
    JOIN market.organizations o ON o.id = s.organization_id
    JOIN market.plans p ON p.id = i.plan_id
    JOIN market.offerings f ON f.id = p.offering_id
WHERE (i.op_type <> 'create' OR i.op_state = 'succeeded')
    AND NOT EXISTS (SELECT FROM market.jobs j WHERE j.resource = i.id AND j.operation = 'service_instance.create' AND j.state = 'FAILED')
ORDER BY i.created_at, i.id;

INSERT INTO market.usage_horizon SELECT CASE WHEN EXISTS (SELECT FROM market.jobs) THEN now() END;

-- Who is refused the same again and again is found quickly.
CREATE INDEX events_by_refused_actor ON audit.events (actor_id, organization_id, created_at) WHERE type = 'audit.request.refused';

UPDATE audit.events SET data = '{}' WHERE data = 'null'; -- as events had it that waited in a job

-- Who asked for a job, in full: a job that ends many things records each end as theirs.
ALTER TABLE market.jobs ADD COLUMN actor jsonb NOT NULL DEFAULT '{}';
