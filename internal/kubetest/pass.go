package kubetest

import (
	"io"
	"net"
)

// pass passes every connection of a listener on to an address of this machine, until the listener is closed.
func pass(listener net.Listener, to string) {
	for {
		from, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer from.Close()
			target, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer target.Close()
			go func() {
				io.Copy(target, from)
				target.(*net.TCPConn).CloseWrite()
			}()
			io.Copy(from, target)
		}()
	}
}
