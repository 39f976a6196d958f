// Package postgres knows PostgreSQL: how a data directory comes to be, what its configuration says,
// who may do what in it, and how it is asked.
//
// A data directory is a clone of a golden one, made once by initdb and this package's SQL, so that a
// new node needs nothing but a start. In it:
//
//	backstay      the bootstrap superuser; reached only over the node's Unix socket by the operator
//	owner         cannot log in; owns all that bindings make
//	public-owner  cannot log in; owns schema public, and owner is a member of it
//	bindings      log in over TLS to database main alone, and are owner from their first statement on
//	reader        cannot log in; may read everything; read-only bindings inherit it and are never owner
//	…-kept        cannot log in; has no rights; keeps the password that a read-only binding was given
//
// Bindings hold no right of their own but to connect, so all of them can use, alter and drop what any
// of them made, and dropping one loses nothing. Database main belongs to the superuser, so that
// nobody else can change its settings.
//
// walls.sql, which keeps all of them in their places, is also what an instance of an earlier version is brought up
// to date with, when it is configured.
//
// Extensions: the library pgextwlist lets bindings create those that the platform offers as if they were superuser. It
// lets trusted extensions pass that are not offered, so an event trigger is the wall; it also stands where the library
// is not installed.
//
// What every server has, whatever is sold on it, is in package pgserver: backups, copies, and standbys.
//
// What tenants do within their rights may hold nothing up that we do: see priority.go.
package postgres
