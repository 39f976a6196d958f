// Package tenant divides one broker among other platforms, each of which is a client of the Open Service Broker API:
// who each is, what it may ask for, and which instances are its own. It speaks no protocol, and knows no broker but by
// the contract.
//
// An id that a platform has given is any text. The broker knows the instance or the binding by another one, a UUID that
// is made of both the client's own and the platform's: no two clients can mean the same instance, whatever they ask
// for, and nothing need be remembered to find it again. So it is with spaces, by which brokers tell whose data may be
// copied.
package tenant
