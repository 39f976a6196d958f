-- Run in database main of data that pg_upgrade has just made, before walls.sql: which is to know that walls have stood
-- before, so that what tenants have granted since is as they meant it. Pg_upgrade has left the walls behind.
CREATE FUNCTION pg_catalog.backstay_passage() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';

CREATE EVENT TRIGGER backstay_security_definer ON ddl_command_end EXECUTE FUNCTION pg_catalog.backstay_passage();

ALTER EXTENSION plpgsql ADD FUNCTION pg_catalog.backstay_passage();

ALTER EXTENSION plpgsql ADD EVENT TRIGGER backstay_security_definer;
