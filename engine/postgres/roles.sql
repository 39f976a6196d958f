-- Run by a superuser before there is a database main. All of it is part of each new node.

CREATE ROLE owner NOLOGIN;

-- A session that has become owner would otherwise neither see nor end the others of its instance.
GRANT pg_read_all_stats, pg_signal_backend TO owner;
