-- Run by the superuser in single-user mode, statement by statement. All of it is part of each new node.

CREATE EXTENSION documentdb CASCADE;

-- As whom FerretDB logs in. DocumentDB's roles give it no right to its functions: everybody has that.
CREATE ROLE writer LOGIN IN ROLE documentdb_admin_role;

CREATE ROLE reader LOGIN IN ROLE documentdb_readonly_role, pg_read_all_data;

CREATE ROLE front LOGIN;

-- What a binding may do: these roles only mark it, for the front.
CREATE ROLE writes NOLOGIN;

CREATE ROLE reads NOLOGIN;

-- Whom the front names in the place of users that there are not. What is kept in the place of a password is of none.
CREATE ROLE decoy NOLOGIN PASSWORD 'SCRAM-SHA-256$4096:pGuaBDPxLS1p6WHUM+xVUg==$SJ0BxrX+BWTAyf4hnLw3AAa5RFGvVxjNY7FMAi7xllU=:WAgNsD77NRPNESv/Y55iDoOPItvuJmziM9SPdn/gi20=';
