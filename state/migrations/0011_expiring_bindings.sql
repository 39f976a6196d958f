-- A service key that was lent to a tunnel ends by itself, unless its end is put off.
ALTER TABLE market.bindings ADD COLUMN expires_at timestamptz;
CREATE INDEX bindings_by_expiry ON market.bindings (expires_at) WHERE expires_at IS NOT NULL;
