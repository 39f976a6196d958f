-- Run in database main behind an upgrade, and where none came of it: our collations are of no extension, see carry.sql.
DO $$
DECLARE
    carried record;
BEGIN
    FOR carried IN SELECT c.oid::regcollation AS name, extname FROM pg_collation c
                   JOIN pg_depend ON classid = 'pg_collation'::regclass AND objid = c.oid AND deptype = 'e'
                   JOIN pg_extension e ON refclassid = 'pg_extension'::regclass AND refobjid = e.oid
                   WHERE collnamespace = 'pg_catalog'::regnamespace LOOP
        EXECUTE format('ALTER EXTENSION %I DROP COLLATION %s', carried.extname, carried.name);
    END LOOP;
END
$$;
