// Package mysql knows the servers that speak MySQL, Oracle's own and MariaDB, which is the one that
// Debian 12 has: how a data directory comes to be, what its configuration says, who may do what in it,
// and how it is asked. Whatever the two do differently is in a dialect, and nowhere else.
//
// A data directory is a clone of a golden one, made once by the server's own programs and this
// package's SQL. In it:
//
//	the operator   the administrator; comes in over the node's Unix socket alone, as the
//	               operating-system user of that name; made sure of at each start
//	bindings       come in over TLS, with all rights on database main and none elsewhere, but to
//	               read the texts of routines, without which mysqldump leaves them out; or with
//	               the rights to read main, and a password that is not theirs to set
//
// The golden directory has the machine's time zones by their names. A node that lacks them, or has older ones, gets
// them while it serves.
//
// Nodes of MariaDB's can follow each other: see docs/decisions/mariadb-nodes-share-one-history.md.
//
// Views, routines, triggers and events run with the rights of whoever defined them, and break when
// that account goes. So an account whose binding ends is locked, its sessions are ended, and it stays,
// unable to log in, until nothing is left that it defined. Everybody can use, replace and drop what it
// defined. MariaDB lets nobody but the definer say ALTER VIEW without naming a new one: CREATE OR REPLACE
// VIEW and ALTER DEFINER = CURRENT_USER VIEW do the same.
package mysql
