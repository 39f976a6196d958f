// Package broker pays what the market owes: it turns a plan and parameters into a [backend.Spec],
// sees operations through to their end, and gives bindings their credentials. It is a
// [backstay.Broker], in process or behind any door.
//
// What it owes stands in its ledger, the [Store]. An instance's row keeps what was accepted, an operation's row
// what is wanted; the one becomes the other when it serves:
//
//	                   is begun as         and ends as
//	create             generation 1        accepted, or nothing is left of it
//	update             generation n+1      accepted, or what was accepted before is back as generation n+2
//	delete             -                   no row is left
//
// An operation is waiting (for its instance's maintenance window), in progress, succeeded or failed. One in progress
// that has been given up is undone, from wherever a crash has left it. At most one of an instance is in progress, at
// most one waits, and whoever works on an instance takes its turn first and reads the ledger afterwards.
// docs/states.md has the picture. What must stay true while no operation is in progress, [Broker.Reconcile] keeps true;
// what is due in maintenance windows, [Broker.Maintain] begins.
//
// It knows no engine by name: an offering is an engine of the catalog with plans, and what is
// special about a product lives in its room under engine. What plans and parameters come to is decided in
// broker/terms. No SQL and no HTTP may enter.
package broker
