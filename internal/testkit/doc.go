// Package testkit gives tests the real things they stand on: a PostgreSQL server of their own, ports
// that no other test uses, and directories short and open enough for an engine's socket.
//
// Whatever it hands out is taken back when the test ends, and also when the test process panics or
// is killed. Knowledge of a room of ours may not enter; a helper that knows one lives beside it.
package testkit
