-- Brokers change instances of their own accord, as in maintenance windows, and are followed.
ALTER TABLE market.brokers
    ADD COLUMN seen_changes bigint NOT NULL DEFAULT 0; -- up to where, as the broker counts them

-- Whether the broker has said that it will change the instance: it is asked again and again until it has.
ALTER TABLE market.instances
    ADD COLUMN pending boolean NOT NULL DEFAULT false;

-- What nobody has asked for, a broker has done.
ALTER TABLE audit.events
    ADD COLUMN actor_is_broker boolean NOT NULL DEFAULT false;
