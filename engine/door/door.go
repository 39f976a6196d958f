// Package door is what companions of nodes share by which clients come in: how one is told what to do, how it takes the
// place of the one before, and how it listens where that has listened.
package door

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/wait"
)

// patience is how long a port may be taken: processes of a node that was killed take a moment to notice.
const patience = 5 * time.Second

// Succeed has a companion end that was left behind by an earlier start of the node, and has us end when another one
// comes. The socket at path is theirs alone.
func Succeed(path string, end func()) (net.Listener, error) {
	if before, err := net.Dial("unix", path); err == nil {
		before.SetDeadline(time.Now().Add(patience))
		io.Copy(io.Discard, before) // until it has ended, or as long as it may take
		before.Close()
	}
	l, err := ListenUnix(path)
	if err != nil {
		return nil, err
	}
	go func() {
		if next, err := l.Accept(); err == nil {
			end()
			io.Copy(io.Discard, next) // it stays open until our process ends, or whoever has come waits no longer
		}
	}()
	return l, nil
}

// ListenUnix listens on a socket, in the place of one that was left behind. Its file stays behind: by then it may be
// the next one's.
func ListenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return l, nil
}

// passing are errors for which no connection is accepted now, and the next one is.
var passing = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}

// Accept is that of the listener, which goes on where there is no room for another connection at the moment: those that
// there are need not end for that.
func Accept(ctx context.Context, l net.Listener) (net.Conn, error) {
	for {
		conn, err := l.Accept()
		isPassing := slices.ContainsFunc(passing, func(p error) bool { return errors.Is(err, p) })
		if !isPassing || wait.Pause(ctx, 20*time.Millisecond) != nil {
			return conn, err
		}
	}
}

// Listen listens on all addresses, or on none.
func Listen(ctx context.Context, addresses []string) (all []net.Listener, err error) {
	giveUp := time.Now().Add(patience)
	for _, address := range addresses {
		var l net.Listener
		err := wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) {
			var c net.ListenConfig
			l, err = c.Listen(ctx, "tcp", address)
			return errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(giveUp), err
		})
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}
