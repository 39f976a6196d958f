package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
)

// Recovery makes a node's own data of a copy of another's.
type Recovery struct {
	datadir.Conversion
	Files  map[string]string // its configuration
	server Server
	node   engine.Node
}

// TakeOver makes the node's data directory in a workshop, in the place of what an interrupted call has left. Make fills
// it and has the recovery do its part.
func (s Server) TakeOver(ctx context.Context, n engine.Node, make func(*datadir.Workshop, Recovery) error) error {
	p, err := s.Plan(ctx, n)
	if err != nil {
		return err
	}
	c := Recovery{ConversionTo(n, p), p.Files, s, n}
	if err := os.RemoveAll(n.DataDir); err != nil {
		return err
	}
	return c.Make(ctx, func(w *datadir.Workshop) error { return make(w, c) })
}

// ConversionTo makes the node's data directory.
func ConversionTo(n engine.Node, p datadir.Plan) datadir.Conversion {
	return datadir.Conversion{
		Dir: n.DataDir, Sockets: n.RunDir + ".up", UID: p.UID, GID: p.GID, User: "postgres", Env: Environment,
		Verdict: Refusal,
	}
}

// recovering configures the server of a copy: like one that converts data, but it leaves what it says of its new
// timeline to be archived by its successor.
const recovering = Converting + `archive_mode = on
archive_command = ''
hot_standby = off
max_wal_size = 1GB
`

const serverLog = "server.log"

// start starts the server of the workshop's Data with further settings, and returns when it serves.
func (c Recovery) start(ctx context.Context, w *datadir.Workshop, more map[string]string) error {
	config := recovering
	maps.Copy(more, map[string]string{"listen_addresses": "", "port": strconv.Itoa(DefaultPort),
		"unix_socket_directories": QuoteList([]string{c.Sockets})})
	for name, value := range more {
		config += name + " = " + mustQuote(value) + "\n"
	}
	files := ConvertingFiles()
	maps.Copy(files, map[string]string{ServerFile: config})
	uid, gid := w.IDs()
	if err := datadir.Fill(w.Data, uid, gid, files); err != nil {
		return err
	}
	if err := datadir.Give(w.Data, uid, gid); err != nil {
		return err
	}
	log := filepath.Join(w.Dir, serverLog)
	if err := os.Remove(log); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := w.Run("", filepath.Join(c.node.Installation.Dir, "pg_ctl"), "start", "--wait", "--silent", "--pgdata="+w.Data,
		"--log="+log)
	if err == nil {
		err = c.await(ctx, w)
	}
	if err != nil && ctx.Err() == nil {
		said, _ := os.ReadFile(log) // it may have said nothing
		return backstay.Wrapf(fmt.Errorf("%w: %s", err, said), backstay.Invalid,
			"The copy cannot be served: %s.", strings.TrimSuffix(Refusal(string(said)), "."))
	}
	return err
}

var errServerEnded = errors.New("the server has ended")

// await returns when the server has replayed everything, and lets clients in, or has ended.
func (c Recovery) await(ctx context.Context, w *datadir.Workshop) error {
	n := c.hidden(w)
	return wait.Until(ctx, wait.Growing(5*time.Millisecond, 200*time.Millisecond), func() (again bool, err error) {
		if err := WithAdmin(ctx, n, c.server.Database, func(*pgx.Conn) error { return nil }); err == nil {
			return false, nil
		}
		if !runs(w.Data) {
			return false, errServerEnded
		}
		return true, nil
	})
}

// serverIn returns the process that runs and has written the data directory's postmaster.pid; 0: there is none.
func serverIn(data string) (pid int) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err = strconv.Atoi(first)
	if real, err := filepath.EvalSymlinks(data); err == nil {
		data = real // as the operating system calls it
	}
	if err != nil || pid <= 0 || !process.WorksIn(pid, data) {
		return 0
	}
	return pid
}

// runs tells whether a server with that data directory runs.
func runs(data string) bool { return serverIn(data) != 0 }

// hidden is the node while its data is made: only we reach it.
func (c Recovery) hidden(w *datadir.Workshop) engine.Node {
	n := c.node
	n.DataDir, n.RunDir, n.Ports, n.TLS = w.Data, c.Sockets, nil, backstay.Certificate{}
	n.Admin = engine.SocketAdmin(n, Socket(n.RunDir, 0), Admin)
	return n
}

// mustQuote quotes a value without control characters.
func mustQuote(value string) string { return "'" + strings.ReplaceAll(value, "'", "''") + "'" }

// said tells whether the server has said that.
func (c Recovery) said(w *datadir.Workshop, words string) bool {
	log, err := os.ReadFile(filepath.Join(w.Dir, serverLog))
	return err == nil && bytes.Contains(log, []byte(words))
}

// stopPatience is how long the server of a copy may take to write what it has changed.
const stopPatience = time.Hour

// finish takes the users away, ends the server, and gives the data the node's configuration.
func (c Recovery) finish(ctx context.Context, w *datadir.Workshop) error {
	if err := c.server.DropUsers(ctx, c.hidden(w)); err != nil {
		return err
	}
	if err := stop(ctx, w.Data); err != nil {
		return err
	}
	for _, name := range c.server.Own { // of the node that was backed up
		if err := os.RemoveAll(filepath.Join(w.Data, name)); err != nil {
			return err
		}
	}
	uid, gid := w.IDs()
	return datadir.Fill(w.Data, uid, gid, c.Files)
}

// stop ends the server with that data directory. Whoever waits for a restore waits for this: pg_ctl looks ten times a
// second only whether it has ended.
func stop(ctx context.Context, data string) error {
	pid := serverIn(data)
	if pid == 0 {
		return errServerEnded
	}
	p, err := process.Open(pid)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Signal(syscall.SIGINT); err != nil {
		return err
	}
	select {
	case <-p.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(stopPatience):
		return backstay.Errorf(backstay.Unavailable, "The server of the copy does not end.")
	}
}

func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }
