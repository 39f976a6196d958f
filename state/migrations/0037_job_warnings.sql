-- What whoever asked for a job is to know of it, although it is done.
ALTER TABLE market.jobs ADD COLUMN warnings text[] NOT NULL DEFAULT '{}';
