-- Run by a superuser in database main when that has been made. All of it is part of each new node.

REVOKE ALL ON DATABASE main FROM PUBLIC;

GRANT CONNECT, CREATE, TEMPORARY ON DATABASE main TO owner;

REVOKE ALL ON DATABASE template0 FROM PUBLIC;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
