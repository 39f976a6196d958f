-- Names are of what is on sale: plans may take each other's names, and that of one that is withdrawn. Both are looked at
-- when a whole catalog has been kept.
ALTER TABLE market.plans
    DROP CONSTRAINT plan_name,
    ADD CONSTRAINT plan_name EXCLUDE USING btree (offering_id WITH =, name WITH =) WHERE (available)
        DEFERRABLE INITIALLY DEFERRED;
