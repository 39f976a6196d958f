// Package front is the way in to a node of MongoDB: a process that runs as the node does.
//
// It ends TLS and reads what clients say, message by message, as it takes their right from their name:
//
//	connected --hello, ping, …--> reader        nobody yet: FerretDB that can only read answers, and lets nobody do more
//	    | saslStart, or hello with speculativeAuthenticate, names the user
//	    v
//	named ------everything-------> writer or reader, by the roles that PostgreSQL has for the user
//
// Who the user is, FerretDB finds out; the front only sees to it that a name gets no further than its right. So a
// connection is of one user for ever, nothing is let pass that could name another one unseen (compressed messages, such
// a command in a part that is not read), and messages are read by FerretDB's own parser, which sees in them what
// FerretDB sees.
//
// A user that is dropped is told of by a notification of PostgreSQL's. The front ends the connections and answers by
// another one. It lets nobody in while it does not listen to PostgreSQL.
package front
