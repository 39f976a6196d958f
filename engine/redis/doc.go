// Package redis knows Redis, and Valkey, which is the same to it: what its configuration says, who may do what in
// it, and how it is asked.
//
// Users are ACL users, kept by the server itself in users.acl beside its data:
//
//	operator   administers, over the Unix socket; its secret lies beside the data, for the keeper alone
//	default, x are for clients that name no user, or the guide's; they have the passwords and the rights of all
//	           bindings that may write
//	bindings   log in over TLS; they reach all keys and channels, and no command that administers, nor,
//	           if they may only read, one that writes
//
// A backup is what the server would send to a replica, an RDB file; there is no archive.
//
// Data is an append-only file, flushed every second. A server that is killed loses nothing that it has
// written, which it puts off for up to two seconds while the disk is slow to flush; a machine that loses power,
// at most as much.
package redis
