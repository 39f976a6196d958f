package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
)

// Test ports lie below the range the kernel gives to outgoing connections, so that no connection
// of any process takes one by chance.
const (
	firstPort = 20000
	lastPort  = 31999
	blockSize = 10
)

// Ports reserves n TCP ports, first to last, for one test: no other test of any process on this
// machine gets them until it ends, and nothing listens on them on 127.0.0.1 now.
func Ports(t testing.TB, n int) (first, last int) {
	t.Helper()
	need := (n + blockSize - 1) / blockSize
	blocks := (lastPort - firstPort + 1) / blockSize
	start := rand.IntN(blocks)
	for i := range blocks {
		block := (start + i) % blocks
		if block+need > blocks {
			continue
		}
		if release, ok := reserve(block, need); ok {
			t.Cleanup(release)
			first = firstPort + block*blockSize
			return first, first + n - 1
		}
	}
	t.Fatalf("no %d ports are free between %d and %d", n, firstPort, lastPort)
	return 0, 0
}

// reserve takes count blocks, or none. A block is held by a name in the abstract socket namespace:
// like the ports it belongs to this network namespace, and the kernel frees it with the process.
func reserve(block, count int) (release func(), ok bool) {
	var held []net.Listener
	release = func() {
		for _, l := range held {
			l.Close()
		}
	}
	for b := block; b < block+count; b++ {
		l, err := net.Listen("unix", fmt.Sprintf("@backstay-test-ports-%d", firstPort+b*blockSize))
		if err != nil {
			release()
			return nil, false
		}
		held = append(held, l)
		if !allFree(firstPort + b*blockSize) {
			release()
			return nil, false
		}
	}
	return release, true
}

// allFree tells whether all ports of a block can be bound. Nothing is forked meanwhile: the child would have them too
// until it is another program, and whoever asked for them could not bind them.
func allFree(first int) bool {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	for port := first; port < first+blockSize; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}
