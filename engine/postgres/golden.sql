-- Run in template1 by a server in single-user mode, which reads statements that end with a semicolon
-- and an empty line. All of it is part of each new node.

CREATE ROLE owner NOLOGIN;

-- A session that has become owner would otherwise neither see nor end the others of its instance.
GRANT pg_read_all_stats, pg_signal_backend TO owner;

CREATE DATABASE main STRATEGY file_copy;

REVOKE ALL ON DATABASE main FROM PUBLIC;

GRANT CONNECT, CREATE, TEMPORARY ON DATABASE main TO owner;

REVOKE ALL ON DATABASE template0 FROM PUBLIC;

DROP DATABASE postgres;
