-- Where an instance is read from whose replicas serve reads, at the host of its endpoint; 0: nowhere, or not known.
ALTER TABLE broker.instances ADD COLUMN read_port int NOT NULL DEFAULT 0;
