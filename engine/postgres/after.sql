-- Run in database main of data that pg_upgrade has just made, by a server in single-user mode: databases that ours have not.

REVOKE ALL ON DATABASE template0 FROM PUBLIC;

ALTER DATABASE template1 IS_TEMPLATE false;

DROP DATABASE template1;

DROP DATABASE postgres;
