package mysql

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/internal/wait"
)

// MadeBy reads the file in which the product, or we, have left the version.
func (Engine) MadeBy(n engine.Node) (version string, err error) {
	if _, err := os.Lstat(n.DataDir); err != nil {
		return "", err
	}
	for _, d := range dialects {
		if version, err := d.madeBy(n.DataDir); err == nil {
			return version, nil
		}
	}
	return "", nil
}

// CheckUpgrade compares versions: each reads what the ones before it have written.
func (e Engine) CheckUpgrade(ctx context.Context, from, to engine.Node) error {
	u, err := e.upgrade(ctx, from, to)
	if err != nil {
		return err
	}
	return u.blame(u.Try(ctx, func(w *datadir.Workshop) error { return clone.Room(from.DataDir, w.Dir) }))
}

// Upgrade copies the data and has a server of the new version, which nobody else reaches, bring the copy up to date.
func (e Engine) Upgrade(ctx context.Context, from, to engine.Node, progress func(string)) error {
	u, err := e.upgrade(ctx, from, to)
	if err != nil {
		return err
	}
	return u.blame(u.Make(ctx, func(w *datadir.Workshop) error { return u.build(ctx, w, progress) }))
}

// Refresh has nothing to do: what the planner of queries goes by is among the data.
func (Engine) Refresh(context.Context, engine.Node) error { return nil }

// upgrade is one conversion of data from one version to another.
type upgrade struct {
	datadir.Conversion
	engine   Engine
	from, to engine.Node
	files    map[string]string // the configuration of the new node
}

func (e Engine) upgrade(ctx context.Context, from, to engine.Node) (upgrade, error) {
	before, after := from.Installation, to.Installation
	if before.Product != after.Product || engine.CompareVersions(after.Version, before.Version) < 0 {
		return upgrade{}, backstay.Errorf(backstay.Unsupported,
			"The data was made by %s and cannot be served by %s.", called(before), called(after))
	}
	p, err := e.plan(ctx, to)
	if err != nil {
		return upgrade{}, err
	}
	maps.Copy(p.Files, dialectOf(after).notes(after))
	return upgrade{
		Conversion: datadir.Conversion{
			Dir: to.DataDir, Sockets: to.RunDir + ".up", UID: p.UID, GID: p.GID, User: "mysql", Env: environment,
		},
		engine: e, from: from, to: to, files: p.Files,
	}, nil
}

func (u upgrade) blame(err error) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf("The upgrade from %s to %s", called(u.from.Installation), called(u.to.Installation))
	return datadir.Blame(what, err)
}

// hidden is the node while its data is upgraded: only the administrator reaches it, and nothing is logged.
func (u upgrade) hidden(w *datadir.Workshop) engine.Node {
	n := u.to
	n.DataDir, n.RunDir, n.Ports, n.TLS, n.Archive = w.Data, u.Sockets, nil, backstay.Certificate{}, false
	n.Replication = nil
	n.Admin = u.engine.LocalAdmin(n)
	return n
}

// apart is what the configuration of such a server ends with: what tenants have scheduled is not run there, and what is
// done there may write.
const apart = "event_scheduler = OFF\n" + readOnlySetting + " = OFF\n"

func (u upgrade) build(ctx context.Context, w *datadir.Workshop, progress func(string)) error {
	n := u.hidden(w)
	n.Archive = isOpen(u.from.DataDir)
	p, err := u.engine.plan(ctx, n)
	if err != nil {
		return err
	}
	p.Files[configFile] += apart
	progress("the data is copied.")
	if err := os.Remove(w.Data); err != nil {
		return err
	}
	if err := w.Copy(w.Data, u.from.DataDir, u.UID, u.GID); err != nil {
		return err
	}
	if err := datadir.Fill(w.Data, u.UID, u.GID, p.Files); err != nil {
		return err
	}
	for _, name := range []string{mariadbNote, mariadbOldNote} {
		if err := os.Remove(filepath.Join(w.Data, name)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	// The server is the node's user, and passes through.
	if err := os.Chmod(w.Dir, 0o711); err != nil {
		return err
	}
	if err := os.Lchown(u.Sockets, u.UID, u.GID); err != nil {
		return err
	}
	progress("the data is brought up to date.")
	if err := u.modernize(ctx, w, n); err != nil {
		return err
	}
	if err := removeBinlog(w.Data); err != nil { // the copy will have its own
		return err
	}
	return datadir.WriteFiles(w.Data, u.UID, u.GID, u.files)
}

// modernize starts the new server, has the product's program do what the server itself does not, and ends the server.
func (u upgrade) modernize(ctx context.Context, w *datadir.Workshop, n engine.Node) error {
	s, err := u.serve(ctx, w, n)
	if err != nil {
		return err
	}
	defer s.kill() // where it has not ended
	d := dialectOf(n.Installation)
	if d.upgrade != "" { // it does all it can where nothing says that it has done so before
		cmd := exec.CommandContext(ctx, beside(n.Installation, d.upgrade), "--no-defaults", "--protocol=socket",
			"--socket="+filepath.Join(n.RunDir, socketName), "--user="+n.Operator, "--tmpdir="+w.Dir)
		cmd.Dir, cmd.Env = w.Dir, environment
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", d.upgrade, err, out)
		}
	}
	return s.end(ctx)
}

// serve starts the server of a node, and returns when it serves.
func (u upgrade) serve(ctx context.Context, w *datadir.Workshop, n engine.Node) (*server, error) {
	s, err := u.start(ctx, w, n)
	if err != nil {
		return nil, err
	}
	err = wait.Until(ctx, wait.Growing(2*time.Millisecond, 50*time.Millisecond), func() (again bool, err error) {
		select {
		case <-s.ended:
			return false, s.complain()
		default:
		}
		err = u.engine.Probe(ctx, n)
		return err != nil, err
	})
	if err != nil {
		s.kill()
		return nil, err
	}
	return s, nil
}

// server is a server that runs while data is upgraded.
type server struct {
	cmd     *exec.Cmd
	log     string
	dialect dialect
	ended   chan struct{}
	err     error
}

func (u upgrade) start(ctx context.Context, w *datadir.Workshop, n engine.Node) (*server, error) {
	main, err := u.engine.Command(n)
	if err != nil {
		return nil, err
	}
	s := &server{cmd: main.Cmd, log: filepath.Join(w.Dir, "server.log"), dialect: dialectOf(n.Installation),
		ended: make(chan struct{})}
	log, err := os.OpenFile(s.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := s.cmd
	cmd.Args = append([]string{"/bin/sh", "-c", `umask 077; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.Dir, cmd.Stdout, cmd.Stderr = w.Data, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if n.Account != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: n.Account.UID, Gid: n.Account.GID}
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.ended)
		s.err = cmd.Wait()
	}()
	return s, nil
}

// end asks the server to end, and returns when it has.
func (s *server) end(ctx context.Context) error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.ended:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *server) kill() {
	s.cmd.Process.Kill() // it may have ended
	<-s.ended
}

// complain is why a server has ended that was to serve.
func (s *server) complain() error {
	said, err := os.ReadFile(s.log)
	if err != nil {
		return err
	}
	reason := strings.TrimSuffix(complaint(s.dialect, string(said)), ".")
	if reason == "" {
		return fmt.Errorf("the server has ended: %w", s.err)
	}
	return backstay.Errorf(backstay.Unsupported, "%s does not take the data over: %s.", s.dialect.product, reason)
}
