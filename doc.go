// Package backstay is the dictionary of the house: the nouns every room speaks in and the one
// contract, [Broker], that divides what is owed to a user (market) from how it is paid (broker).
//
// It does no I/O, starts no goroutine and knows no wire format. Nothing that needs a database, a
// clock or a socket may enter; everything else in the module may import it.
package backstay
