// Package state is the one store: schema, migrations and queries on PostgreSQL. It implements the
// store interfaces of the rooms above the floor of promises (market, broker, uaa, pki) and runs
// their jobs; it decides nothing.
//
// The schemas market, broker, uaa and platform never read each other, with one exception: a role's
// user is looked up in uaa. Secrets arrive sealed. No transaction crosses the package's boundary.
package state
