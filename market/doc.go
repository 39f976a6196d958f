// Package market decides what a developer may have: organizations, spaces, roles, apps, service
// instances and their bindings, under their names and for those who may see them.
//
// It knows services only through [backstay.Broker], people only as [backstay.Actor], and its memory
// only as [Store]. No wire format, no engine and no SQL may enter.
//
// Every change to an instance or a binding is first a row, an operation and a job in one
// transaction; the job's steps (job.go) can stop at any instruction and be taken up again.
package market
