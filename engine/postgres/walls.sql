-- What walls bindings in. Run in database main, when it is made and again when what is here has changed since:
-- then in one transaction, with tenants at work. Each statement therefore takes what is there.

-- What an earlier version has made goes, for what follows makes it anew. None of it may be in its own
-- way: event triggers do not fire for changes of event triggers.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT quote_ident(evtname) FROM pg_event_trigger WHERE evtname LIKE 'backstay\_%' LOOP
        EXECUTE 'ALTER EVENT TRIGGER ' || name || ' DISABLE';
    END LOOP;
    -- A tenant that has made things before these walls stood has not meant those that may only read.
    IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'backstay_security_definer') THEN
        FOR name IN SELECT quote_ident(nspname) FROM pg_namespace WHERE has_schema_privilege('public', oid, 'CREATE') LOOP
            EXECUTE 'REVOKE CREATE ON SCHEMA ' || name || ' FROM PUBLIC';
        END LOOP;
        FOR name IN SELECT oid::regprocedure FROM pg_proc WHERE prosecdef AND proowner <> 10 LOOP
            EXECUTE 'REVOKE EXECUTE ON ROUTINE ' || name || ' FROM PUBLIC';
        END LOOP;
    END IF;
    FOR name IN SELECT format('EVENT TRIGGER %I', evtname) FROM pg_event_trigger WHERE evtname LIKE 'backstay\_%'
                UNION ALL SELECT 'FUNCTION ' || oid::regprocedure FROM pg_proc
                          WHERE (proname LIKE 'backstay\_%' OR proname = 'CREATE EXTENSION')
                          AND pronamespace = 'pg_catalog'::regnamespace LOOP
        EXECUTE 'ALTER EXTENSION plpgsql DROP ' || name;
        EXECUTE 'DROP ' || name;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reader') THEN
        CREATE ROLE reader NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'public-owner') THEN
        CREATE ROLE "public-owner" NOLOGIN;
    END IF;
    IF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'public' AND nspowner <> '"public-owner"'::regrole) THEN
        ALTER SCHEMA public OWNER TO "public-owner";
    END IF;
    -- Of readers that are there already, what is kept of later ones: see reader.go.
    FOR name IN SELECT format('%I NOLOGIN PASSWORD %L', rolname || '-kept', rolpassword) FROM pg_authid a
                WHERE EXISTS (SELECT FROM pg_auth_members WHERE member = a.oid AND roleid = 'reader'::regrole)
                AND NOT EXISTS (SELECT FROM pg_roles k WHERE k.rolname = a.rolname || '-kept') LOOP
        EXECUTE 'CREATE ROLE ' || name;
    END LOOP;
END
$$;

-- Applications empty their database by DROP OWNED BY CURRENT_USER. Schema public is not among what that
-- drops: it belongs to a role that owner is a member of, as it belongs to pg_database_owner elsewhere.
GRANT "public-owner" TO owner;

GRANT pg_read_all_data TO reader;

GRANT CONNECT ON DATABASE main TO reader;

-- Large objects are anybody's to make. That owner alone may is noted as initdb notes it, or dumps
-- would hold it.
REVOKE EXECUTE ON FUNCTION lo_creat(int), lo_create(oid), lo_from_bytea(oid, bytea), lo_put(oid, bigint, bytea),
    lowrite(int, bytea), lo_truncate(int, int), lo_truncate64(int, bigint), lo_unlink(oid) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION lo_creat(int), lo_create(oid), lo_from_bytea(oid, bytea), lo_put(oid, bigint, bytea),
    lowrite(int, bytea), lo_truncate(int, int), lo_truncate64(int, bigint), lo_unlink(oid) TO owner;

INSERT INTO pg_init_privs SELECT oid, 'pg_proc'::regclass, 0, 'i', proacl FROM pg_proc
WHERE proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lowrite', 'lo_truncate', 'lo_truncate64', 'lo_unlink')
AND pronamespace = 'pg_catalog'::regnamespace AND NOT EXISTS (SELECT FROM pg_init_privs WHERE (objoid, classoid) = (pg_proc.oid, 'pg_proc'::regclass));

-- Dumps from before PostgreSQL 15 let PUBLIC make things in schema public. All who write are owner and
-- need no such right; it would be one for those who may only read.
CREATE FUNCTION pg_catalog.backstay_after_grant() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name name;
BEGIN
    FOR name IN SELECT nspname FROM pg_namespace WHERE has_schema_privilege('public', oid, 'CREATE') LOOP
        EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', name);
    END LOOP;
END
$$;

CREATE EVENT TRIGGER backstay_after_grant ON ddl_command_end
WHEN TAG IN ('GRANT', 'CREATE SCHEMA') EXECUTE FUNCTION pg_catalog.backstay_after_grant();

-- So it stays where a tenant has made it anew, or loaded a dump that gave it away.
CREATE FUNCTION pg_catalog.backstay_public() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'public' AND nspowner <> '"public-owner"'::regrole) THEN
        ALTER SCHEMA public OWNER TO "public-owner";
    END IF;
END
$$;

CREATE EVENT TRIGGER backstay_public ON ddl_command_start
WHEN TAG IN ('DROP OWNED') EXECUTE FUNCTION pg_catalog.backstay_public();

-- Whoever may only read lacks the right to nearly all commands. This is for those that ask for none, as
-- pgextwlist has it for extensions, and for rights that somebody grants to it by name.
CREATE FUNCTION pg_catalog.backstay_read_only() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT oid FROM pg_roles WHERE rolname = session_user) IS DISTINCT FROM 10
        AND pg_has_role(session_user, 'reader', 'MEMBER') THEN
        RAISE EXCEPTION 'a read-only binding cannot execute %', TG_TAG USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;

CREATE EVENT TRIGGER backstay_read_only ON ddl_command_start EXECUTE FUNCTION pg_catalog.backstay_read_only();

-- Functions are anybody's to call. One that runs with the rights of owner would write for whoever may
-- only read. Those of these walls keep the rights with which they are made: others would be dumped, by which no database
-- without walls could be made.
CREATE FUNCTION pg_catalog.backstay_security_definer() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT c.object_identity FROM pg_event_trigger_ddl_commands() c JOIN pg_proc p ON (c.classid, c.objid) = (p.tableoid, p.oid)
                WHERE p.prosecdef AND p.pronamespace <> 'pg_catalog'::regnamespace
                AND NOT c.in_extension AND has_function_privilege('public', p.oid, 'EXECUTE') LOOP
        EXECUTE 'REVOKE EXECUTE ON ROUTINE ' || name || ' FROM PUBLIC';
    END LOOP;
END
$$;

CREATE EVENT TRIGGER backstay_security_definer ON ddl_command_end
WHEN TAG IN ('CREATE FUNCTION', 'CREATE PROCEDURE', 'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE')
EXECUTE FUNCTION pg_catalog.backstay_security_definer();

-- The script of an extension runs as superuser, with a schema of a tenant's in reach: a function or operator there that
-- has the name of a built-in one or of an extension's, or one that PostGIS' scripts call, could be called in its place, and
-- a table or view could be read in the place of one of PostGIS'. Whoever makes one, in whatever schema, holds this lock
-- until it is committed. Tenants have no right to lock pg_user_mapping, which is of no use here.
CREATE FUNCTION pg_catalog.backstay_namesake() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c
               JOIN pg_proc p ON (c.classid, c.objid, c.in_extension) = (p.tableoid, p.oid, false)
               WHERE p.proname ~ '^_?postgis_'
               OR EXISTS (SELECT FROM pg_proc b WHERE (b.proname, b.proowner) = (p.proname, 10)))
    OR EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c
               JOIN pg_operator o ON (c.classid, c.objid, c.in_extension) = (o.tableoid, o.oid, false)
               JOIN pg_operator b USING (oprname) WHERE b.oprowner = 10)
    OR EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c
               JOIN pg_class r ON (c.classid, c.objid, c.in_extension) = (r.tableoid, r.oid, false)
               WHERE r.relname ~ '^_?postgis_') THEN
        LOCK TABLE pg_user_mapping IN ROW EXCLUSIVE MODE;
    END IF;
END
$$;

CREATE EVENT TRIGGER backstay_namesake ON ddl_command_end
WHEN TAG IN ('CREATE FUNCTION', 'CREATE PROCEDURE', 'CREATE AGGREGATE', 'CREATE OPERATOR',
    'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE', 'ALTER AGGREGATE', 'ALTER OPERATOR',
    'CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE FOREIGN TABLE', 'CREATE VIEW', 'CREATE MATERIALIZED VIEW',
    'ALTER TABLE', 'ALTER FOREIGN TABLE', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW')
EXECUTE FUNCTION pg_catalog.backstay_namesake();

-- Refuses that a script runs with this schema in reach while there is such a thing in it, and keeps others from making
-- one until it has run. An update also calls what the extension has made before.
CREATE FUNCTION pg_catalog.backstay_clear(reached oid, updates bool) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN -- it does not see all that the script does
        RAISE EXCEPTION 'extensions can be created and updated in a transaction that is READ COMMITTED only'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    LOCK TABLE pg_user_mapping IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM pg_proc p WHERE proowner <> 10 AND pronamespace = reached
               AND (proname ~ '^_?postgis_' OR EXISTS (SELECT FROM pg_proc b
                   WHERE b.proname = p.proname AND (b.pronamespace = 'pg_catalog'::regnamespace
                       OR updates AND (b.pronamespace, b.proowner) = (reached, 10)))))
    OR EXISTS (SELECT FROM pg_operator o WHERE oprowner <> 10 AND oprnamespace = reached
               AND EXISTS (SELECT FROM pg_operator b
                   WHERE b.oprname = o.oprname AND (b.oprnamespace = 'pg_catalog'::regnamespace
                       OR updates AND (b.oprnamespace, b.oprowner) = (reached, 10))))
    OR EXISTS (SELECT FROM pg_class
               WHERE relowner <> 10 AND relnamespace = reached AND relname ~ '^_?postgis_') THEN
        RAISE EXCEPTION 'schema % has a function or operator of yours with the name of a built-in one, or of %',
            reached::regnamespace, CASE WHEN updates THEN 'one of an extension' ELSE 'PostGIS' END
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = CASE WHEN updates
                THEN 'Rename yours, and name it back afterwards.'
                ELSE 'Create the extension in another schema, or rename yours and name it back afterwards.' END;
    END IF;
END
$$;

-- The extensions that may be created here. They are noted as the comment on an event trigger.
CREATE FUNCTION pg_catalog.backstay_supported() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_to_array(coalesce(max(obj_description(oid, 'pg_event_trigger')), ''), ' ')
    FROM pg_event_trigger WHERE evtname = 'backstay_extension'
$$;

-- CREATE EXTENSION IF NOT EXISTS of one that is there must wait for nobody, and before the command has begun nobody
-- says which one it names. So it is looked at when it begins to be made: it is there, and nothing belongs to it.
-- That is so at the first command of its script, before which scripts call nothing by its mere name. (A test looks.)
-- PostgreSQL itself refuses what is not on the machine, or is for superusers, before that, and does not say what is
-- supported. So where the command is all that the client has sent, its text is believed when it names what is not.
-- Who is refused reads the function's name in the context of the error, so it is the name of what was asked for.
CREATE FUNCTION pg_catalog."CREATE EXTENSION"() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    supported text[];
    named text;
    made record;
BEGIN
    IF TG_EVENT = 'ddl_command_start' AND TG_TAG = 'CREATE EXTENSION' THEN
        named := (regexp_match(current_query(), '^(?:\s|--[^\n]*\n)*CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?'
            '("[^";]+"|[a-z_][a-z_0-9]*)(?:\s[^;]*)?;?\s*$', 'i'))[1];
        named := CASE WHEN named LIKE '"%' THEN btrim(named, '"') ELSE lower(named) END;
    END IF;
    FOR made IN SELECT extname, extversion, extnamespace
                FROM pg_extension e WHERE NOT EXISTS (SELECT FROM pg_depend
                    WHERE (refclassid, refobjid, deptype) = ('pg_extension'::regclass, e.oid, 'e'))
                UNION ALL SELECT named, '', 0
                WHERE named IS NOT NULL AND named <> ALL (backstay_supported())
                AND NOT EXISTS (SELECT FROM pg_extension WHERE extname = named) LOOP
        supported := backstay_supported();
        IF made.extname <> ALL (supported) THEN
            RAISE EXCEPTION '% is not supported', made.extname USING ERRCODE = 'insufficient_privilege',
                HINT = format('Supported are: %s.', array_to_string(supported, ', '));
        END IF;
        IF made.extversion ~ '^unpackaged' THEN -- which takes functions that tenants made for the extension's own
            RAISE EXCEPTION 'extensions cannot be created from what is there' USING ERRCODE = 'insufficient_privilege';
        END IF;
        PERFORM backstay_clear(made.extnamespace, false);
    END LOOP;
END
$$;

CREATE EVENT TRIGGER backstay_extension ON ddl_command_start EXECUTE FUNCTION pg_catalog."CREATE EXTENSION"();

CREATE EVENT TRIGGER backstay_after_extension ON ddl_command_end
WHEN TAG IN ('CREATE EXTENSION') EXECUTE FUNCTION pg_catalog."CREATE EXTENSION"();

-- The script of an update runs as superuser too. Which extension a command alters can be read nowhere but in what the
-- client has sent, if that is all of it; otherwise it may be any. The commands with which scripts alter their own
-- extension come by here as well. (What is no update only its owner may do, which no tenant is.)
-- The tables that users fill are locked first: an update of PostGIS changes rights in its table and then analyzes it.
-- Autovacuum makes room for who waits for the lock; one that came between the two would wait for the changed rights.
CREATE FUNCTION pg_catalog.backstay_before_extension() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    said text[] := regexp_match(current_query(), '^(?:\s|--[^\n]*\n)*(CREATE|ALTER)\s+EXTENSION\s+'
        '(?:IF\s+NOT\s+EXISTS\s+)?("[^";]+"|[a-z_][a-z_0-9]*)\s*[^;]*;?\s*$', 'i');
    named text := CASE WHEN said[2] LIKE '"%' THEN btrim(said[2], '"') ELSE lower(said[2]) END;
    reached oid;
    filled regclass;
BEGIN
    FOR filled IN SELECT c.oid FROM pg_extension CROSS JOIN unnest(extconfig) AS config JOIN pg_class c ON c.oid = config
                  WHERE relkind = 'r' AND relowner = 10 AND (named IS NULL OR extname = named) ORDER BY c.oid LOOP
        EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', filled);
    END LOOP;
    IF upper(said[1]) = 'CREATE' OR (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN
        RETURN;
    END IF;
    FOR reached IN SELECT DISTINCT extnamespace FROM pg_extension WHERE named IS NULL OR extname = named LOOP
        PERFORM backstay_clear(reached, true);
    END LOOP;
END
$$;

CREATE EVENT TRIGGER backstay_before_extension ON ddl_command_start
WHEN TAG IN ('ALTER EXTENSION') EXECUTE FUNCTION pg_catalog.backstay_before_extension();

-- Of some extensions users fill tables, as they add to PostGIS' spatial_ref_sys. Dumps hold what they have added, so
-- whoever loads one must be able to write there. The right is noted as the extension's own, or dumps would hold it.
-- The lock comes before the right, here too.
CREATE FUNCTION pg_catalog.backstay_configuration() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    filled regclass;
BEGIN
    FOR filled IN SELECT c.oid FROM pg_extension CROSS JOIN unnest(extconfig) AS config JOIN pg_class c ON c.oid = config
                  WHERE relkind = 'r' AND relowner = 10 AND NOT has_table_privilege('owner', c.oid, 'INSERT') LOOP
        EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', filled);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO owner', filled);
        UPDATE pg_init_privs SET initprivs = relacl FROM pg_class c
        WHERE c.oid = filled AND (objoid, classoid, objsubid) = (filled, 'pg_class'::regclass, 0);
        IF NOT FOUND THEN
            INSERT INTO pg_init_privs SELECT oid, 'pg_class'::regclass, 0, 'e', relacl FROM pg_class WHERE oid = filled;
        END IF;
    END LOOP;
END
$$;

-- It fires at the end of this file too, for the extensions that are there.
CREATE EVENT TRIGGER backstay_configuration ON ddl_command_end
WHEN TAG IN ('CREATE EXTENSION', 'ALTER EXTENSION') EXECUTE FUNCTION pg_catalog.backstay_configuration();

-- What belongs to an extension is not dumped: a dump of main can be loaded anywhere.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT format('EVENT TRIGGER %I', evtname) FROM pg_event_trigger WHERE evtname LIKE 'backstay\_%'
                UNION ALL SELECT 'FUNCTION ' || oid::regprocedure FROM pg_proc
                          WHERE (proname LIKE 'backstay\_%' OR proname = 'CREATE EXTENSION')
                          AND pronamespace = 'pg_catalog'::regnamespace LOOP
        EXECUTE 'ALTER EXTENSION plpgsql ADD ' || name;
    END LOOP;
END
$$;
