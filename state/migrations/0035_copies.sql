-- Of an instance that was accepted as a copy of one in another space, with consent: whose data it begins with, as its broker
-- is told. Empty: its data, if it began with any, came from its own space.
ALTER TABLE market.instances ADD COLUMN copy_of text NOT NULL DEFAULT '';
