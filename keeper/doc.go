// Package keeper is the local data plane: it keeps each instance of one machine as its Spec says.
// It knows databases only as [engine.Engine], and nobody's name, plan or password.
//
// What it promises:
//  1. A Spec that was accepted lies on disk, and is reached or its obstacle told, whatever dies in between.
//  2. Engine processes outlive the keeper. A new keeper finds them by pid file and adopts them; none
//     is restarted for our sake.
//  3. What serves is not ended for a Spec that cannot be.
//  4. An engine that dies or hangs is started again: at once, then with back-off, and users are told why.
//  5. Nothing is deleted that no record names, and nothing is made in the place of data that served.
//
// One instance is kept by keeper/instance, one engine process by keeper/node. Here they are put together:
// what is new is admitted and gets its port and its user, and the control plane is answered.
//
// It talks over one Unix socket, HTTP and JSON, versioned by the path: see keeper/wire.
package keeper
