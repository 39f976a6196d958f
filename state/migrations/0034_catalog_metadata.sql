-- What a broker's catalog says besides of an offering or a plan ("metadata", OSB 2.17), as it is there: of type json, which
-- keeps every text that a catalog may have. NULL: nothing.
ALTER TABLE market.offerings ADD COLUMN broker_metadata json;
ALTER TABLE market.plans ADD COLUMN broker_metadata json;
