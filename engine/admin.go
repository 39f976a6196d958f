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

// Admin is the way in to a running node for whoever administers it. Where the node runs is nobody's business
// who has it: it may be a Unix socket of this machine, or a connection to another.
type Admin struct {
	// Dial opens a connection that is safe as it is: nobody else can listen to it, or answer in the
	// node's place.
	Dial func(ctx context.Context) (net.Conn, error)
	// User is whom the engine takes us for.
	User string
	// Secret is what proves it. Nil is where the connection proves it by itself, as a Unix socket does
	// that tells the server which user of the operating system we are.
	Secret func() (backstay.Secret, error)
	// Lock makes us the only ones who change the node's users until unlock, by means that no client of the
	// node can get hold of.
	Lock func(ctx context.Context) (unlock func() error, err error)
	// Mark changes with all that clients change in the node, and is had without asking the server. Nil
	// is where nothing tells.
	Mark func() (string, error)
	// Process is the server's process. Nil is where the node runs on another machine; os.ErrProcessDone
	// says that none runs.
	Process func() (*process.Process, error)
}

// SocketAdmin is the Admin of a node of this machine whose server listens on a Unix socket and knows user by
// that. Secret, Mark and Process are the engine's to add.
func SocketAdmin(n Node, socket, user string) Admin {
	return Admin{
		User: user,
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		// The directory that holds the data directory is the keeper's, where the node has a user of its own.
		Lock: func(ctx context.Context) (unlock func() error, err error) {
			return lockDir(ctx, filepath.Dir(n.DataDir))
		},
	}
}

// lockDir takes the operating system's lock of a directory, which goes with our process at the latest.
func lockDir(ctx context.Context, path string) (unlock func() error, err error) {
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
