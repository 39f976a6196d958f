package opensearch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/opensearch/front"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
)

// scratch is a node while its data is made: only we reach it, and it has no front.
type scratch struct {
	engine   Engine
	node     engine.Node
	dir      *os.Root // its data directory
	workshop *datadir.Workshop
	uid, gid int
}

// makeBy makes the node's data directory in a workshop: make is given one in which nothing is kept yet.
func makeBy(ctx context.Context, e Engine, n engine.Node, make func(*scratch) error) error {
	uid, gid := n.Account.IDs()
	c := datadir.Conversion{
		Dir: n.DataDir, Sockets: n.RunDir + ".up", UID: uid, GID: gid, User: "opensearch", Own: true,
		Env: environment, Verdict: strings.TrimSpace,
	}
	return c.Make(ctx, func(w *datadir.Workshop) (err error) {
		s := &scratch{engine: e, node: n, workshop: w}
		s.uid, s.gid = w.IDs()
		s.node.DataDir, s.node.RunDir, s.node.LogFile = w.Data, c.Sockets, filepath.Join(w.Dir, "server.log")
		s.node.Ports, s.node.TLS, s.node.Settings = nil, backstay.Certificate{}, nil
		s.node.Admin = engine.Admin{
			User:   operator,
			Dial:   func(ctx context.Context) (net.Conn, error) { return front.Dial(ctx, c.Sockets) },
			Secret: func() (backstay.Secret, error) { return operatorSecret(w.Data) },
		}
		if err := s.lay(); err != nil {
			return err
		}
		if s.dir, err = os.OpenRoot(w.Data); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.dir.Close()) }()
		return make(s)
	})
}

// lay makes a data directory with its configuration.
func (s *scratch) lay() error {
	if err := os.Remove(s.node.DataDir); err != nil {
		return err
	}
	if err := makeData(s.node.DataDir, s.uid, s.gid); err != nil {
		return err
	}
	files, err := configFiles(s.node, tuned{})
	if err != nil {
		return err
	}
	return datadir.Fill(s.node.DataDir, s.uid, s.gid, files)
}

// start starts the server, and returns when it serves.
func (s *scratch) start(ctx context.Context) error {
	if err := s.owned(""); err != nil {
		return err
	}
	p, err := s.engine.Command(s.node)
	if err != nil {
		return err
	}
	const apart = `log=$1; shift; "$@" </dev/null >"$log" 2>&1 &`
	err = s.workshop.Run("", "/bin/sh", slices.Concat([]string{"-c", apart, "sh", s.node.LogFile}, p.Cmd.Args)...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.engine.Patience())
	defer cancel()
	return wait.Until(ctx, wait.Every(startPause), func() (again bool, err error) {
		err = s.engine.Probe(ctx, s.node)
		if err == nil {
			return false, nil
		}
		if reason := s.engine.Explain(s.node); reason != "" {
			return false, backstay.Wrapf(err, backstay.Unavailable, "OpenSearch cannot take up a snapshot: %s.",
				strings.TrimSuffix(reason, "."))
		}
		return true, err
	})
}

// end has the server write what it has, and returns when it has ended.
func (s *scratch) end() error {
	text, err := os.ReadFile(filepath.Join(s.node.RunDir, front.ProcessID))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || !process.WorksIn(pid, s.workshop.Dir) {
		return fmt.Errorf("process %q is not the server: %w", text, errors.Join(err, os.ErrProcessDone))
	}
	p, err := process.Open(pid)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-time.After(s.engine.Ending(s.node).Grace): // it is killed then: what it has acknowledged is on the disk
	}
	return nil
}
