package engine

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
)

// Admin is how the administrator of a running node connects to it. Whoever uses it need not know where the node runs:
// behind it may be a Unix socket on this machine, or a connection to another.
type Admin struct {
	// Dial opens a connection to the server. The connection is safe without further encryption: nobody else can
	// read it, or answer in the server's place.
	Dial func(ctx context.Context) (net.Conn, error)
	// User is the administrator's name in the database.
	User string
	// Secret returns the administrator's password. It is nil where the connection proves who the administrator is,
	// as a Unix socket does that tells the server the operating-system user at its other end.
	Secret func() (backstay.Secret, error)
	// Lock excludes all others who use it to change the node's users, until unlock is called. No client of the
	// node can take this lock.
	Lock func(ctx context.Context) (unlock func() error, err error)
	// Mark returns a text that is another one whenever clients have changed something in the node, without asking
	// the server. It is nil where that cannot be known.
	Mark func() (string, error)
	// Process returns the server's process, or os.ErrProcessDone if none runs. It is nil where the node runs on
	// another machine.
	Process func() (*process.Process, error)
}

// SocketAdmin returns the Admin of a node on this machine whose server listens on a Unix socket. The engine adds
// Secret, Mark and Process where it has them.
func SocketAdmin(n Node, socket, user string) Admin {
	return Admin{
		User: user,
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		// A node that has a user of its own cannot open the directory that holds its data directory.
		Lock: func(ctx context.Context) (unlock func() error, err error) {
			return LockDir(ctx, filepath.Dir(n.DataDir))
		},
	}
}

// LockDir takes the operating system's exclusive lock on a directory. The lock ends with our process at the latest.
func LockDir(ctx context.Context, path string) (unlock func() error, err error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	err = wait.Until(ctx, wait.Every(2*time.Millisecond), func() (again bool, err error) {
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		return errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR), err
	})
	if err != nil {
		return nil, errors.Join(err, ctx.Err(), dir.Close())
	}
	return dir.Close, nil // the lock goes with its file
}
