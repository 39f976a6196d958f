-- Run in database main of data that somebody else is to upgrade, whose template has none of our collations. What is made
-- of them would not be brought over. Pg_upgrade brings over what is of an extension, wherever that lies.
DO $$
DECLARE
    carrier text;
    name text;
BEGIN
    FOR name IN SELECT c.oid::regcollation FROM pg_collation c
                WHERE collnamespace = 'pg_catalog'::regnamespace AND c.oid >= 16384
                AND EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_collation'::regclass AND refobjid = c.oid)
                AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_collation'::regclass AND objid = c.oid
                                AND deptype = 'e') LOOP
        SELECT extname INTO carrier FROM pg_extension WHERE oid >= 16384 ORDER BY oid LIMIT 1;
        IF carrier IS NULL THEN
            carrier := 'uuid-ossp'; -- which every instance has, if not its tenants have dropped it
            CREATE EXTENSION "uuid-ossp" SCHEMA public;
        END IF;
        EXECUTE format('ALTER EXTENSION %I ADD COLLATION %s', carrier, name);
    END LOOP;
END
$$;
