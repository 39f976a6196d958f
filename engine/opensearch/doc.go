// Package opensearch knows OpenSearch 2 with its security plugin, for clients of OpenSearch and of Elasticsearch 7: how
// a data directory comes to be, what its configuration says, who may do what, and how it is asked.
//
// A node is two processes. OpenSearch, on a Java machine, is the main one; it listens on loopback alone. Its companion
// is our own front (package front), by which clients and the administrator come in.
//
// Who is who:
//
//	operator  has a certificate, by an authority that has signed nothing else: to the security plugin it is above all
//	          rights. Its key lies beside the server's data, where the server itself may read nothing
//	node      has another one, by another authority: the server and the front prove themselves by it, to each other and
//	          the server also to itself. Whoever has neither gets no connection with the server
//	bindings  are the plugin's internal users, each with one of two roles, writes and reads: all that there is to do
//	          with indices, and nothing that is the cluster's
//
// The server reads its configuration where it runs: users can have it read files, as lists of words of an analyzer, and
// what its own rules let it read must hold nothing secret.
//
// Backups are OpenSearch's own snapshots, of which a node keeps no more than names (snapshot.go). They are restored by
// a server that nobody but us reaches (scratch.go). Users are not part of them: the security plugin keeps them in an
// index that is no tenant's, and that a new node makes anew. A clone (clone.go) is made as a restore is, of a snapshot
// that comes into no repository.
package opensearch
