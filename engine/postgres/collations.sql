-- Run in database main with walls.sql, and in the template of a database that is to be upgraded into.

-- The C library's names for the order of a language, as dumps from other systems have them, mean ICU's order: which of
-- its own the C library has depends on the machine.
DO $$
DECLARE
    icu record;
BEGIN
    FOR icu IN SELECT collname, regexp_replace(collname, '^(\w+)-(?:\w{4}-)?(\w\w)-x-icu$', '\1_\2') AS name FROM pg_collation
               WHERE collnamespace = 'pg_catalog'::regnamespace AND collname !~ '^zh-Hans-(HK|MO)-'
               AND collname ~ '^[a-z]{2,3}-([A-Z][a-z]{3}-)?[A-Z]{2}-x-icu$' ORDER BY collname LOOP
        EXECUTE format('CREATE COLLATION IF NOT EXISTS pg_catalog.%I FROM pg_catalog.%I', icu.name, icu.collname);
        EXECUTE format('CREATE COLLATION IF NOT EXISTS pg_catalog.%I FROM pg_catalog.%I', icu.name || '.utf8', icu.collname);
    END LOOP;
END
$$;
