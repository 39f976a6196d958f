// Package keeper is the local data plane: it keeps each instance of one machine as its Spec says.
// It knows databases only as [engine.Engine], and nobody's name, plan or password.
//
// What it promises:
//  1. A Spec that was accepted lies on disk, and is reached whatever dies in between.
//  2. Engine processes outlive the keeper. A new keeper finds them by pid file and adopts them; none
//     is restarted for our sake.
//  3. An engine that dies is started again: at once, then with back-off, and users are told why.
//  4. Nothing is deleted that no record names.
//
// One instance is kept by keeper/instance, one engine process by keeper/node. Here they are put together:
// what is new is admitted and gets its port and its user, and the control plane is answered.
//
// It talks over one Unix socket, HTTP and JSON, versioned by the path: see keeper/wire.
package keeper
