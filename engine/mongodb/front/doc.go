// Package front is the way in to a node of MongoDB: a process that runs as the node does.
//
// It ends TLS and reads what clients say, message by message, as it takes their right from their name:
//
//	connected --hello, ping, …--> reader        nobody yet: FerretDB that can only read answers, and lets nobody do more
//	    | saslStart, or hello with speculativeAuthenticate, names the user
//	    v
//	named ------its login--------> writer or reader, by the roles that PostgreSQL has for the user
//	    | FerretDB answers that the login is done
//	    v
//	logged in --everything-------> the same
//
// Who the user is, FerretDB finds out; the front only sees to it that a name gets no further than its right. So a
// connection is of one user for ever, nothing is let pass that could name another one unseen (compressed messages, such
// a command in a part that is not read), and messages are read by FerretDB's own parser, which sees in them what
// FerretDB sees.
//
// Only who has logged in takes one of the plan's connections. The others have places of their own, are led through one
// message and one answer at a time, and may be slow with neither.
//
// What is of a transaction over several documents is refused here: FerretDB would do it at once, and keep it. So are
// views and other collections that it would make ordinary ones of (create.go), and of a full node what takes more room
// (refuse.go).
//
// A user that is dropped is told of by a notification of PostgreSQL's. The front ends the connections and answers by
// another one. On a node that follows, which has no notifications, it is told by a socket to look who is gone. While it
// cannot be told, or what is behind it does not serve, its ports are closed: drivers that find no server wait for one,
// and one that sends them away again makes an error of what they are asked for.
package front
