-- Clients of the Open Service Broker API: other platforms, among whom the broker is divided.
CREATE SCHEMA tenant;

CREATE TABLE tenant.tenants (
    id            text PRIMARY KEY, -- of which the broker's ids of its instances are made
    name          text NOT NULL CONSTRAINT tenant_name UNIQUE,
    max_instances integer NOT NULL CHECK (max_instances >= 0),
    created_at    timestamptz NOT NULL
);

CREATE TABLE tenant.passwords (
    tenant     text NOT NULL REFERENCES tenant.tenants ON DELETE CASCADE,
    hash       bytea NOT NULL,
    created_at timestamptz NOT NULL,
    ends_at    timestamptz, -- NULL: when it is revoked
    PRIMARY KEY (tenant, hash)
);

-- What tenants have asked for. The broker knows whether there is such an instance.
CREATE TABLE tenant.instances (
    instance_id text PRIMARY KEY,
    tenant      text NOT NULL REFERENCES tenant.tenants,
    external_id text NOT NULL,
    created_at  timestamptz NOT NULL
);
CREATE INDEX instances_by_tenant ON tenant.instances (tenant, created_at);
