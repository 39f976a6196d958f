-- Run in database main of a copy of the data that is to be upgraded, by a server in single-user mode.

-- pg_upgrade connects to it, and drops it in the new data to make it anew.
CREATE DATABASE template1 TEMPLATE template0 IS_TEMPLATE true;

-- What pg_upgrade does not bring over, as a text that it does: which extensions were created for the platform, and by
-- which libraries text is sorted.
DO $$
BEGIN
    EXECUTE format('COMMENT ON DATABASE main IS %L', jsonb_build_object(
        'created', (SELECT max(obj_description(oid)) FROM pg_event_trigger WHERE evtname = 'backstay_after_extension'),
        'sorted', (SELECT string_agg(DISTINCT collprovider::text || pg_collation_actual_version(oid), ' ')
            FROM pg_collation WHERE collprovider IN ('i', 'c'))));
END
$$;
