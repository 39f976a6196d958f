-- Run in database main of a copy of the data that is to be upgraded, by a server in single-user mode.

-- pg_upgrade connects to it, and drops it in the new data to make it anew.
CREATE DATABASE template1 TEMPLATE template0 IS_TEMPLATE true;
