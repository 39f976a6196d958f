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
                          WHERE proname LIKE 'backstay\_%' AND pronamespace = 'pg_catalog'::regnamespace LOOP
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
    IF session_user <> 'backstay' AND pg_has_role(session_user, 'reader', 'MEMBER') THEN
        RAISE EXCEPTION 'a read-only binding cannot execute %', TG_TAG USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;

CREATE EVENT TRIGGER backstay_read_only ON ddl_command_start EXECUTE FUNCTION pg_catalog.backstay_read_only();

-- Functions are anybody's to call. One that runs with the rights of owner would write for whoever may
-- only read.
CREATE FUNCTION pg_catalog.backstay_security_definer() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT c.object_identity FROM pg_event_trigger_ddl_commands() c JOIN pg_proc p ON (c.classid, c.objid) = (p.tableoid, p.oid)
                WHERE p.prosecdef AND NOT c.in_extension AND has_function_privilege('public', p.oid, 'EXECUTE') LOOP
        EXECUTE 'REVOKE EXECUTE ON ROUTINE ' || name || ' FROM PUBLIC';
    END LOOP;
END
$$;

CREATE EVENT TRIGGER backstay_security_definer ON ddl_command_end
WHEN TAG IN ('CREATE FUNCTION', 'CREATE PROCEDURE', 'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE')
EXECUTE FUNCTION pg_catalog.backstay_security_definer();

-- Scripts that update call functions by names of their extension's, which may be traps.
CREATE FUNCTION pg_catalog.backstay_before_extension() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN
        RAISE EXCEPTION 'extensions cannot be altered' USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;

CREATE EVENT TRIGGER backstay_before_extension ON ddl_command_start
WHEN TAG IN ('ALTER EXTENSION') EXECUTE FUNCTION pg_catalog.backstay_before_extension();

-- The script of an extension runs as superuser, with a schema of a tenant's in reach: a function or operator there that
-- has the name of a built-in one, or one that PostGIS' scripts call, could be called in its place. Whoever makes one,
-- in whatever schema, holds this lock until it is committed. Tenants have no right to lock pg_user_mapping, which
-- is of no use here.
CREATE FUNCTION pg_catalog.backstay_namesake() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c
               JOIN pg_proc p ON (c.classid, c.objid, c.in_extension) = (p.tableoid, p.oid, false)
               WHERE p.proname ~ '^_?postgis_' OR EXISTS (
                   SELECT FROM pg_proc b WHERE (b.proname, b.pronamespace) = (p.proname, 'pg_catalog'::regnamespace)))
    OR EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c
               JOIN pg_operator o ON (c.classid, c.objid, c.in_extension) = (o.tableoid, o.oid, false)
               JOIN pg_operator b USING (oprname) WHERE b.oprnamespace = 'pg_catalog'::regnamespace) THEN
        LOCK TABLE pg_user_mapping IN ROW EXCLUSIVE MODE;
    END IF;
END
$$;

CREATE EVENT TRIGGER backstay_namesake ON ddl_command_end
WHEN TAG IN ('CREATE FUNCTION', 'CREATE PROCEDURE', 'CREATE AGGREGATE', 'CREATE OPERATOR',
    'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE', 'ALTER AGGREGATE', 'ALTER OPERATOR')
EXECUTE FUNCTION pg_catalog.backstay_namesake();

-- CREATE EXTENSION IF NOT EXISTS of one that is there must wait for nobody, and before the command has begun nobody
-- says which one it names. So it is looked at when it begins to be made: it is there, and nothing belongs to it.
-- That is so at the first command of its script, before which scripts call nothing by its mere name. (A test looks.)
CREATE FUNCTION pg_catalog.backstay_extension() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made record;
BEGIN
    FOR made IN SELECT extname, extnamespace,
                    extversion = (SELECT default_version FROM pg_available_extensions WHERE name = extname) AS current
                FROM pg_extension e WHERE NOT EXISTS (SELECT FROM pg_depend
                    WHERE (refclassid, refobjid, deptype) = ('pg_extension'::regclass, e.oid, 'e')) LOOP
        IF made.extname NOT IN (ALLOWED) THEN
            RAISE EXCEPTION '% is not supported', made.extname
                USING ERRCODE = 'insufficient_privilege', HINT = $hint$Supported are: ALLOWED.$hint$;
        END IF;
        -- "unpackaged" takes functions that tenants made for the extension's own.
        IF made.current IS NOT TRUE THEN
            RAISE EXCEPTION 'extensions can be created in their default version only'
                USING ERRCODE = 'insufficient_privilege';
        END IF;
        IF current_setting('transaction_isolation') <> 'read committed' THEN -- it does not see all that the script does
            RAISE EXCEPTION 'extensions can be created in a transaction that is READ COMMITTED only'
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        LOCK TABLE pg_user_mapping IN SHARE ROW EXCLUSIVE MODE;
        IF EXISTS (SELECT FROM pg_proc p WHERE proowner <> 10 AND pronamespace = made.extnamespace
                   AND (proname ~ '^_?postgis_' OR EXISTS (SELECT FROM pg_proc b
                       WHERE (b.proname, b.pronamespace) = (p.proname, 'pg_catalog'::regnamespace))))
        OR EXISTS (SELECT FROM pg_operator o WHERE oprowner <> 10 AND oprnamespace = made.extnamespace
                   AND EXISTS (SELECT FROM pg_operator b
                       WHERE (b.oprname, b.oprnamespace) = (o.oprname, 'pg_catalog'::regnamespace))) THEN
            RAISE EXCEPTION 'schema % has a function or operator of yours with the name of a built-in one, or of PostGIS',
                made.extnamespace::regnamespace USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'Create the extension in another schema, or rename yours and name it back afterwards.';
        END IF;
    END LOOP;
END
$$;

CREATE EVENT TRIGGER backstay_extension ON ddl_command_start EXECUTE FUNCTION pg_catalog.backstay_extension();

CREATE EVENT TRIGGER backstay_after_extension ON ddl_command_end
WHEN TAG IN ('CREATE EXTENSION') EXECUTE FUNCTION pg_catalog.backstay_extension();

-- What belongs to an extension is not dumped: a dump of main can be loaded anywhere.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT format('EVENT TRIGGER %I', evtname) FROM pg_event_trigger WHERE evtname LIKE 'backstay\_%'
                UNION ALL SELECT 'FUNCTION ' || oid::regprocedure FROM pg_proc
                          WHERE proname LIKE 'backstay\_%' AND pronamespace = 'pg_catalog'::regnamespace LOOP
        EXECUTE 'ALTER EXTENSION plpgsql ADD ' || name;
    END LOOP;
END
$$;
