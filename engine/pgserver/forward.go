package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/backstay/backstay/engine"
)

// PgBackRest can have a data directory read by a process on another machine, which it starts by ssh and speaks with
// through a pipe. Ours is a process on this machine with the rights of the node: a server that was broken into may have
// put links into its data directory, and they lead that process nowhere that the server itself could not go. It is told
// neither where the repository is nor its key.

// nodeOptions lets the tool reach the node by such a process, until end is called.
func (t *pgBackRest) nodeOptions(ctx context.Context) (options []string, end func() error, err error) {
	sockets := filepath.Join(t.dir, "node")
	uid, gid := t.node.Account.IDs()
	script := filepath.Join(t.dir, "as-node")
	err = errors.Join(os.Mkdir(sockets, 0o700), os.Lchown(sockets, uid, gid), os.Chmod(t.dir, 0o711),
		os.WriteFile(script, []byte(asNode(t.node.Account, sockets)), 0o700))
	if err != nil {
		return nil, nil, err
	}
	end, err = Forward(ctx, Socket(sockets, 0), uid, gid, t.connect)
	return []string{
		"--pg1-host=node", "--pg1-host-cmd=" + t.server.tool(), "--pg1-host-config=/dev/null", "--cmd-ssh=" + script,
		"--pg1-path=" + t.node.DataDir, "--pg1-socket-path=" + sockets, "--pg1-port=" + strconv.Itoa(DefaultPort),
		"--pg1-user=" + t.node.Admin.User, "--pg1-database=" + t.server.Database,
	}, end, err
}

// connect carries one connection to the node, as its administrator.
func (t *pgBackRest) connect(ctx context.Context, client net.Conn) {
	if server, err := t.node.Admin.Dial(ctx); err == nil {
		Join(ctx, client, server)
	}
}

// asNode returns a script that takes the arguments of ssh and runs the command among them, the last one, as the node's
// user, without what it inherits.
func asNode(a *engine.Account, lockDir string) string {
	as := "env"
	if a != nil {
		as = fmt.Sprintf("setpriv --reuid=%d --regid=%d --clear-groups --no-new-privs env", a.UID, a.GID)
	}
	return "#!/bin/sh\nexec 3<&-\nfor command; do :; done\ncd /\n" +
		"exec " + as + " -i " + strings.Join(Environment, " ") + " PGBACKREST_LOCK_PATH=" + lockDir +
		` /bin/sh -c "$command"` + "\n"
}

// Forward listens on a socket that uid and gid may use, and has each connection carried, until end is called.
func Forward(
	ctx context.Context, path string, uid, gid int, carry func(context.Context, net.Conn),
) (end func() error, err error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Lchown(path, uid, gid); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil { // it was closed
				return
			}
			all.Go(func() {
				defer client.Close()
				carry(ctx, client)
			})
		}
	})
	return func() error {
		err := l.Close()
		cancel()
		all.Wait()
		return err
	}, nil
}

// Join carries what two say to each other, until one of them ends or ctx does.
func Join(ctx context.Context, client, server net.Conn) {
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
	var back sync.WaitGroup
	back.Go(func() { io.Copy(client, server); client.Close() })
	io.Copy(server, client) // either end is closed when the other is
	server.Close()
	back.Wait()
}
