-- Run in database main by that server, once, behind rights.sql.

-- Nobody makes databases here, so a third of the files would never be read. An upgrade by pg_upgrade,
-- which wants one, can have it back from template0.
ALTER DATABASE template1 IS_TEMPLATE false;

DROP DATABASE template1;
