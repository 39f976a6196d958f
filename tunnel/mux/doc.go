// Package mux carries many streams over one connection, so that what is small arrives soon.
//
// Its ends are not alike: one opens streams, the other accepts them. What they say to each other are
// frames, which the connection (a [Carrier], for us a WebSocket) delivers whole and in order. A frame is
// one byte for its kind, four for the stream's number, and what the kind adds:
//
//	open    credit    a stream begins; its opener takes in so many bytes
//	data    bytes     at most MaxData
//	credit  credit    the sender takes in so many bytes more
//	end               the sender's direction has ended in order
//	reset   code      both directions have ended, out of order
//	ping, pong        stream 0: is somebody there, and how far away?
//
// Each direction of a stream has its credit: as many bytes as may be sent before somebody reads them. The
// opener begins with FirstWindow. Half a window that has been read is given back as credit. A window that
// is used up in less than four round trips doubles, if memory allows. So a reader who sleeps holds up
// nobody but their own stream.
//
// Nobody is woken who need not be, because with small messages that is what takes the time. Who writes to a
// stream writes to the connection. The one goroutine that reads from the connection writes what it read to
// where the stream is delivered (see [Stream.Deliver]), as long as that takes it at once; what it does not
// take waits in the stream for a goroutine of the stream's own. That reading goroutine never waits for anything
// but the connection: what it has to say (credit, resets, pongs) another goroutine sends, as two ends that
// write to each other and do not read would stand still forever.
package mux
