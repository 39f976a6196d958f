// Package enginetest is the contract of engine.Engine as tests. Each engine runs it on a real server,
// started as the keeper starts it: in a session of its own and, when the tests run as root, as an
// operating-system user that nothing else runs as.
//
// What is special about one engine may not enter: it comes in as a [Subject].
package enginetest
