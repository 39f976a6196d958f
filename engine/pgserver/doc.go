// Package pgserver knows what every PostgreSQL server of ours has, whatever is sold on it: how its programs are run and
// what they say, how the administrator gets in, and how it is backed up, restored and copied. What is sold on it is for
// the engines to know, each of which fills in a Server.
//
// Backups are pgBackRest's. It reads a data directory by a process with the node's own rights (forward.go), and is
// handed the log by way of a spool beside the data directory (spool.go). Copies are made ready by a server that nobody
// reaches (recovery.go).
package pgserver
