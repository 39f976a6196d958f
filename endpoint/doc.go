// Package endpoint is the endpoint of an instance that has several nodes: the host and port that credentials name, held
// by a front. A front is a process of its own that carries TCP connections to the node that it was told. It knows no
// engine and reads no byte of what it carries: TLS goes through to the node.
//
// Here is the side of who keeps fronts: [Front] starts them, finds them again and ends them, [Client] tells them what
// to do. What a front does itself is package front's.
//
//	keeper                     front                                 clients
//	Hold       ------------->  new connections wait                  those that are there go on
//	Cut(old)   ------------->  sessions to the old node end (RST)    connect again, and wait
//	Switch(new)------------->  that is where connections go
//	Release    ------------->  who waits is connected                go on
//
// Each of these may be said twice, and is answered when it is so. A front that was told no target holds.
//
// A front outlives who started it, and goes on as it was told last. That is on disk: one that was killed and is
// started again knows it. It is found by its pid file, which it holds as long as it lives, and replaced by one of
// another build without an end of any session: the new one is handed all that the old one has open.
//
// To who serves behind a front, all clients have the front's address. [Client.Sessions] says who is who.
package endpoint
