-- Whether an instance's users allow drills, as the platform has told the broker.
ALTER TABLE broker.instances ADD COLUMN drills boolean NOT NULL DEFAULT false;

-- What the broker of an instance was told last: whether its label allows drills.
ALTER TABLE market.instances ADD COLUMN drills_told boolean NOT NULL DEFAULT false;
