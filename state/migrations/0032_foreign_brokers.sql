-- A broker that somebody has registered has an address; one that is part of the program has none. Its login is sealed,
-- and so is that of a change that its broker has yet to be asked about.
ALTER TABLE market.brokers
    ADD COLUMN url      text NOT NULL DEFAULT '',
    ADD COLUMN login    bytea,
    ADD COLUMN change   jsonb,
    ADD COLUMN space_id text CONSTRAINT broker_space REFERENCES market.spaces,
    ADD CONSTRAINT broker_login CHECK ((url = '') = (login IS NULL));
CREATE INDEX ON market.brokers (space_id) WHERE space_id IS NOT NULL;

-- A plan of a space's own broker is for that space alone. A broker's space never changes.
ALTER TABLE market.plans
    ADD COLUMN space_id text,
    ADD CONSTRAINT plan_of_space CHECK (space_id IS NULL OR NOT public);
CREATE INDEX ON market.plans (space_id) WHERE space_id IS NOT NULL;

-- What a job is about that its resource does not tell, as which broker an instance was asked of: whoever ends an orphan
-- finds no instance any more. A broker that was asked, and did not answer before we died, may have made something.
ALTER TABLE market.jobs
    ADD COLUMN about jsonb,
    ADD COLUMN asked boolean NOT NULL DEFAULT false;

-- What a binding gives besides its credentials, sealed: where logs go, where requests go through, which volumes there are.
ALTER TABLE market.bindings ADD COLUMN extras bytea;
