package postgres_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/wait"
)

const superuserPassword = "of the server's first superuser"

// host runs a server as an operator does it: with another superuser, by plain initdb.
type host struct {
	t    *testing.T
	node engine.Node // as it is on its machine
	stop func()
}

// hosted is a server that somebody else has made.
func hosted(t *testing.T) server {
	t.Helper()
	h := newHost(t)
	return h.serve()
}

func newHost(t *testing.T) *host {
	t.Helper()
	n := enginetest.NewNode(t, postgres.Engine{})
	if n.Account != nil { // initdb wants a user that has a name
		n.Account = &engine.Account{UID: 65534, GID: 65534}
		if err := os.Chown(n.RunDir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	n.DataDir = filepath.Join(n.RunDir, "data")
	h := &host{t: t, node: n}
	h.initdb()
	return h
}

// command is of a program of the server's version.
func (h *host) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(h.node.Installation.Dir, program), args...)
	cmd.Dir, cmd.Env = h.node.RunDir, []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	if a := h.node.Account; a != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.UID, Gid: a.GID}}
	}
	return cmd
}

func (h *host) give(path, text string) {
	h.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	uid, gid := h.node.Account.IDs()
	if err := os.Chown(path, uid, gid); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) initdb() {
	h.t.Helper()
	password := filepath.Join(h.node.RunDir, "password")
	h.give(password, superuserPassword)
	out, err := h.command("initdb", "-D", h.node.DataDir, "-U", "postgres", "--pwfile", password, "-N", "-E", "UTF8",
		"--locale=C").CombinedOutput()
	if err != nil {
		h.t.Fatalf("initdb: %s", out)
	}
}

// serve starts the server, and waits until it answers.
func (h *host) serve() server {
	h.t.Helper()
	n := h.node
	hosting, err := postgres.Engine{}.Hosting(abroad(n))
	if err != nil {
		h.t.Fatal(err)
	}
	var conf strings.Builder
	for name, value := range hosting.Parameters {
		conf.WriteString(name + " = '" + strings.ReplaceAll(value, "'", "''") + "'\n")
	}
	conf.WriteString("shared_preload_libraries = '" + strings.Join(hosting.Libraries, ", ") + "'\nssl = on\nfsync = off\n" +
		"listen_addresses = '127.0.0.1'\nport = " + strconv.Itoa(n.Endpoint.Port) +
		"\nunix_socket_directories = '" + n.RunDir + "'\n")
	h.give(filepath.Join(n.DataDir, "postgresql.conf"), conf.String())
	h.give(filepath.Join(n.DataDir, "pg_hba.conf"), "local all postgres trust\n"+strings.Join(hosting.Rules, "\n")+
		"\nlocal replication postgres trust\n")
	h.give(filepath.Join(n.DataDir, "server.crt"), n.TLS.Leaf)
	h.give(filepath.Join(n.DataDir, "server.key"), n.TLS.Key.Reveal())
	cmd := h.command("postgres", "-D", n.DataDir)
	cmd.Stderr = h.t.Output()
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.stop = sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait()
	})
	h.t.Cleanup(h.stop)
	far := abroad(n)
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	err = wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		_, err = postgres.Engine{}.Observe(ctx, far)
		return err != nil, err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return server{far}
}

// upgrade brings the data of a server that is stopped to another version, as whoever runs it does, where it lies. The
// server is of that version then.
func (h *host) upgrade(to engine.Installation) error {
	h.t.Helper()
	old := h.node
	h.node.Installation, h.node.DataDir = to, old.DataDir+"-"+to.Version
	h.initdb()
	out, err := h.command("pg_upgrade", "--link", "--username=postgres", "--old-bindir="+old.Installation.Dir,
		"--new-bindir="+to.Dir, "--old-datadir="+old.DataDir, "--new-datadir="+h.node.DataDir).CombinedOutput()
	if err != nil {
		h.t.Logf("pg_upgrade: %s", out)
		logs, _ := filepath.Glob(filepath.Join(h.node.DataDir, "pg_upgrade_output.d/*/log/*.log"))
		for _, l := range logs {
			text, _ := os.ReadFile(l)
			h.t.Logf("%s:\n%s", filepath.Base(l), text)
		}
		h.node = old
	}
	return err
}
