// Package redis knows Redis, and Valkey, which is the same to it: what its configuration says, who may do what in
// it, and how it is asked.
//
// Users are ACL users, kept by the server itself in users.acl beside its data:
//
//	operator   administers, over the Unix socket; its secret lies beside the data, for the keeper alone
//	default, x are for clients that name no user, or the guide's; they have the passwords and the rights of all
//	           bindings that may write
//	replicator is whom nodes log in as to the one that they follow; its password is derived from the key of the
//	           nodes' certificate
//	bindings   log in over TLS; they reach all keys and channels, and no command that administers, nor,
//	           if they may only read, one that writes
//
// A backup is what the server would send to a replica, an RDB file; there is no archive.
//
// Nodes of one instance follow each other by Redis' own replication, which is asynchronous:
//
//	         Copy, or Fence and Rejoin                 Prepare, a start
//	no data ---------------------------> empty, fenced ----------------> is sent all of the primary's data
//	                                                                        | and writes it to its own files
//	    primary <--------- fenced, runs <------- fenced, streams <----------+
//	             Promote               its primary ends
//
// What fences data is a file beside it, for as long as which the configuration has the server begin as one that
// follows. Users are each server's own: Mirror carries them over.
//
// Data is an append-only file, flushed every second. A server that is killed loses nothing that it has
// written, which it puts off for up to two seconds while the disk is slow to flush; a machine that loses power,
// at most as much.
package redis
