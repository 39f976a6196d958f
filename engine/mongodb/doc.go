// Package mongodb knows what speaks MongoDB: FerretDB 2 before PostgreSQL with DocumentDB. How a data directory comes
// to be, what its configuration says, who may do what, and how it is asked.
//
// A node is four processes. PostgreSQL is the main one; it holds the data, and listens on a Unix socket alone. The
// others are its companions:
//
//	clients --TLS--> front --> writer --+
//	                      \--> reader --+--> PostgreSQL with DocumentDB
//
//	writer, reader  FerretDB, twice: it has no rights of its own, so all that clients ask runs as the role by which it
//	                has logged in to PostgreSQL; the one may write, the other may read alone
//	front           our own (package front): it ends TLS, reads who logs in, and leads each user to the FerretDB of its
//	                right; it ends the connections of users that are dropped
//
// Nodes of one instance follow each other by PostgreSQL's streaming. A node that follows has no writer: its front leads
// all to the reader, and where the node is promoted, the writer comes up behind that. Who follows comes by the port of
// clients, and shows by the first byte of TLS that it is no client: the front sees its certificate and leads it to
// PostgreSQL, for replication alone.
//
// In PostgreSQL there are these roles:
//
//	backstay        the bootstrap superuser; reached only over the node's Unix socket by the operator
//	writer, reader  as whom FerretDB logs in, from the node's own processes; neither may touch users
//	front           may look up rights, and hear of users that are dropped
//	bindings        have a password and are member of writes or reads; they have no other right and cannot log in to
//	                PostgreSQL: DocumentDB compares their passwords for FerretDB
//
// A data directory is a clone of a golden one, made once by initdb and this package's SQL. When DocumentDB was updated,
// what it has in the data is at the next start, and the walls around it are made anew (walls.sql).
package mongodb
