// Program pause does nothing until it is told to end. It is the first process of each pod, which holds the pod's
// namespaces, and the first of the test cluster itself: whatever loses its parent in there becomes a child of it, and is
// buried by it. When it dies, the kernel kills all others of its process namespace.
package main

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGCHLD)
	for s := range signals {
		if s != unix.SIGCHLD {
			return
		}
		for pid := 1; pid > 0; {
			pid, _ = unix.Wait4(-1, nil, unix.WNOHANG, nil)
		}
	}
}
