-- Run in database main of data that is to be upgraded.

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
