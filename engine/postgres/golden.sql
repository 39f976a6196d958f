-- Run in template1, behind roles.sql, by a server in single-user mode, which reads statements that end with a
-- semicolon and an empty line.

CREATE DATABASE main STRATEGY file_copy;

DROP DATABASE postgres;
