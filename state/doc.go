// Package state is the one store: schema, migrations and queries on PostgreSQL. It implements the
// store interfaces of the rooms above the floor of promises (market, broker, uaa, pki) and runs
// their jobs; it decides nothing.
//
// The schemas market, broker, uaa, audit and platform never read each other, with two exceptions: a
// role's user is looked up in uaa, and who sees an event is a matter of their roles in market. Secrets
// arrive sealed. No transaction crosses the package's boundary.
//
// One process at a time has claimed a database: it alone changes the schema and runs jobs.
package state
