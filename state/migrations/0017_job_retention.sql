-- Jobs that have ended, by when they did: the oldest are removed.
CREATE INDEX jobs_by_end ON market.jobs (updated_at) WHERE state IN ('COMPLETE', 'FAILED');
