-- An app may be bound to an instance more than once, so that its credentials can be changed without a moment in which it
-- has none. How often, and by which names, is looked after by whoever has locked the instance and the app.
DROP INDEX market.binding_app_once;
DROP INDEX market.binding_app_name;

-- Since when the app has been bound to the instance, by this binding or by one that it has taken over from.
ALTER TABLE market.bindings
    ADD COLUMN bound_since timestamptz NOT NULL DEFAULT now();
UPDATE market.bindings SET bound_since = created_at;
