-- Where an instance is read from need not be the host of its endpoint: a load balancer, or a service, has a name of its own.
ALTER TABLE broker.instances ADD COLUMN read_host text NOT NULL DEFAULT '';
UPDATE broker.instances SET read_host = endpoint_host WHERE read_port <> 0;
