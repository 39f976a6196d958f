// Package front is the process that holds an endpoint: it listens, keeps clients waiting while there is nobody to serve
// them, and carries bytes between them and the targets that it was told. How it is started and told is package
// endpoint's.
//
// A connection begins as one that waits, gets a server, and is then carried until both sides have ended. It takes no
// memory but its own while it is silent: buffers are had when there is something to read, and given back when it is
// written. What a slow reader does not take stays in one buffer, and its sender waits.
//
//	accept -> wait -> dial -> carry -> end
//	            ^      |        |
//	            +------+        +-> cut
//	   refused, held, cut
//
// For a handover all that stands still: listeners stop accepting, connections that wait go on waiting, and those that
// are carried stop between two reads, with what was read and not yet written. Then everything is passed to the other
// process by SCM_RIGHTS. Until that was told that all is its own, this one can go on as if nothing had been; from then
// on it touches nothing.
package front
