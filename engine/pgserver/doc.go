// Package pgserver knows what every PostgreSQL server of ours has, whatever is sold on it: how its programs are run and
// what they say, how the administrator gets in, how it is backed up, restored and copied, and how nodes follow each
// other. What is sold on it is for the engines to know, each of which fills in a Server.
//
// Backups are pgBackRest's. It reads a data directory by a process with the node's own rights (forward.go), and is
// handed the log by way of a spool beside the data directory (spool.go). Copies are made ready by a server that nobody
// reaches (recovery.go).
//
// Nodes of one instance follow each other by streaming (link.go, copy.go, follow.go). A fence is the file by which a
// server follows (promote.go); pg_rewind brings the old primary back (rejoin.go). Commits wait for a standby only once
// it was seen to get what is logged (await.go). What the administrator commits never waits with a lock in its hands.
package pgserver
