ALTER TABLE market.organizations ADD COLUMN suspended boolean NOT NULL DEFAULT false;
ALTER TABLE market.spaces ADD COLUMN allows_ssh boolean NOT NULL DEFAULT true;

-- The feature flags that somebody has set; the others are as they are by default.
CREATE TABLE market.feature_flags (
    name          text PRIMARY KEY,
    enabled       boolean NOT NULL,
    error_message text NOT NULL, -- in place of the flag's name in refusals; '' for none
    updated_at    timestamptz NOT NULL DEFAULT now()
);

-- Variables that all apps have, while they are staged or while they run.
CREATE TABLE market.environment_groups (
    name        text PRIMARY KEY,
    environment bytea NOT NULL, -- sealed
    updated_at  timestamptz NOT NULL DEFAULT now()
);
