CREATE TABLE market.brokers (
    id          text PRIMARY KEY,
    name        text NOT NULL CONSTRAINT broker_name UNIQUE,
    labels      jsonb NOT NULL DEFAULT '{}',
    annotations jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

-- Our own. backstay.OwnBroker is this row.
INSERT INTO market.brokers (id, name) VALUES ('2f0b5b39-6a0e-4c3d-9f57-8c2c1f3b7a10', 'backstay');
