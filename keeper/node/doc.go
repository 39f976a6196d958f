// Package node runs one engine process with its data directory on this machine: it is found and adopted,
// prepared, started, asked whether it serves, tended, explained and ended here. It remembers nothing and
// decides nothing: which node there is to be, and when, is the instance's business.
//
// A node's process outlives whoever started it. It is found again by its pid file, which it writes itself
// before it becomes the engine, and is known by its user and its working directory: a pid may have come to
// mean another process since.
package node
