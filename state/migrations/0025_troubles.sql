-- What is wrong with instances that serve nevertheless, as their brokers tell it.
CREATE TABLE market.troubles (
    instance_id text NOT NULL REFERENCES market.instances ON DELETE CASCADE,
    kind        text NOT NULL,
    sentence    text NOT NULL,
    began_at    timestamptz NOT NULL,
    gone_at     timestamptz, -- since when the broker does not tell of it any more; NULL: it does
    PRIMARY KEY (instance_id, kind)
);
