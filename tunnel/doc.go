// Package tunnel carries a developer's TCP connections to service instances over one connection to
// the API's own address, both ends of it: [Server] is a handler of the API, [Client] what the
// conduit plugin holds.
//
// The connection is a WebSocket, which load balancers and proxies let through, and carries the
// streams of a multiplexer (package mux), which brings flow control for each stream and keep-alive. A
// stream begins with a message (message.go): what it is for, and the answer. It then carries
// bytes, each direction to its own end; one that breaks is reset, so that a half is never taken for
// the whole.
//
// Who is asking, and who may reach what, the package does not know: it asks an [Authenticator] and a
// [Gate], when a stream begins and every second while it lasts.
package tunnel
