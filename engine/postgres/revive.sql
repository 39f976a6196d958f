-- Run in database main of data that pg_upgrade has just made, behind passage.sql and walls.sql. It brings back what
-- golden.sql and main.sql have made and dumps do not hold.

DO $$
BEGIN
    EXECUTE format('COMMENT ON EVENT TRIGGER backstay_after_extension IS %L',
        shobj_description((SELECT oid FROM pg_database WHERE datname = 'main'), 'pg_database')::jsonb ->> 'created');
END
$$;

-- An extension of which tenants could have the script of the update call what is theirs stays as it is.
DO $$
DECLARE
    old record;
BEGIN
    FOR old IN SELECT extname, extnamespace FROM pg_extension JOIN pg_available_extensions ON name = extname
               WHERE extversion <> default_version LOOP
        BEGIN
            PERFORM pg_catalog.backstay_clear(old.extnamespace, true);
            EXECUTE format('ALTER EXTENSION %I UPDATE', old.extname);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'extension % is not updated: %', old.extname, SQLERRM;
        END;
    END LOOP;
END
$$;

-- Where another library sorts text than before, an index would find nothing that it sorts otherwise by now.
DO $$
DECLARE
    name text;
BEGIN
    IF (SELECT shobj_description(oid, 'pg_database')::jsonb ->> 'sorted' FROM pg_database WHERE datname = 'main')
       IS NOT DISTINCT FROM (SELECT string_agg(DISTINCT collprovider::text || pg_collation_actual_version(oid), ' ')
                             FROM pg_collation WHERE collprovider IN ('i', 'c')) THEN
        RETURN;
    END IF;
    FOR name IN SELECT c.oid::regclass FROM pg_index JOIN pg_class c ON c.oid = indexrelid
                WHERE c.relkind = 'i' AND c.oid >= 16384 AND EXISTS (SELECT FROM unnest(indcollation) AS used
                    WHERE used NOT IN (0, 'pg_catalog."C"'::regcollation, 'pg_catalog."POSIX"'::regcollation)) LOOP
        EXECUTE 'REINDEX INDEX ' || name;
    END LOOP;
    FOR name IN SELECT c.oid::regcollation FROM pg_collation c
                WHERE collversion <> pg_collation_actual_version(c.oid) LOOP
        EXECUTE 'ALTER COLLATION ' || name || ' REFRESH VERSION';
    END LOOP;
    ALTER DATABASE main REFRESH COLLATION VERSION;
END
$$;

COMMENT ON DATABASE main IS NULL;
