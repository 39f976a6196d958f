package testkit

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres returns the URL of a fresh, empty database on a private PostgreSQL server that the tests
// of one process share. The database goes with the test. The server starts with the first call and
// stops with [Main], or with the process if its package has no TestMain.
func Postgres(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	name := fmt.Sprintf("t%d", databases.Add(1))
	if err := s.exec("CREATE DATABASE " + name); err != nil {
		t.Fatalf("create database: %v", err)
	}
	t.Cleanup(func() {
		if err := s.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return s.url(name)
}

// Main runs a package's tests and then stops the server of [Postgres]. Call it as
//
//	func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }
//
// A package without it is cleaned up too, but only after its process has ended.
func Main(m *testing.M) int {
	code := m.Run()
	if started.Load() {
		if s, err := shared(); err == nil {
			s.stop()
		}
	}
	return code
}

var (
	databases atomic.Int64
	started   atomic.Bool
	shared    = sync.OnceValues(func() (*server, error) {
		started.Store(true)
		return startServer()
	})
)

// server is a throw-away PostgreSQL server that listens on a Unix socket in dir only.
type server struct {
	dir      string
	watchdog *exec.Cmd
	leash    *os.File      // the server ends when its last copy, ours, is closed: also by our death
	ended    chan struct{} // closed when the server has ended and dir is gone
}

// watch runs PostgreSQL ("$@") until its standard input ends, then removes the directory $dir.
const watch = `
exec 3<&0
"$@" 3<&- &
server=$!
{ read -r _; kill -QUIT $server; } <&3 2>/dev/null &
wait $server
kill $! 2>/dev/null
rm -rf "$dir"
`

// settings are those of a server whose data nobody will ever need again.
var settings = []string{
	"listen_addresses=", "unix_socket_permissions=0700",
	"fsync=off", "full_page_writes=off", "synchronous_commit=off", "wal_level=minimal", "max_wal_senders=0",
	"max_connections=300", "shared_buffers=32MB", "jit=off",
}

func startServer() (*server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := MakeMemoryDir()
	if err != nil {
		return nil, err
	}
	s, err := startServerIn(dir, bin)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func startServerIn(dir, bin string) (*server, error) {
	attr, err := ownedByServer(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "--no-sync", "--auth=trust", "--username=postgres",
		"--encoding=UTF8", "--locale=C.UTF-8", "--pgdata="+data)
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}

	args := []string{"-c", watch, "sh", filepath.Join(bin, "postgres"), "-D", data, "-k", dir}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	log, err := anonymousFile()
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s := &server{dir: dir, watchdog: exec.Command("sh", args...), ended: make(chan struct{})}
	s.watchdog.Dir, s.watchdog.SysProcAttr = "/", attr
	s.watchdog.Env = append(os.Environ(), "dir="+dir)
	s.watchdog.Stdout, s.watchdog.Stderr = log, log
	if err := s.start(); err != nil {
		return nil, err
	}
	if err := s.awaitReady(); err != nil {
		s.stop()
		said, _ := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", log.Fd()))
		return nil, fmt.Errorf("%w; it said:\n%s", err, said)
	}
	return s, nil
}

func (s *server) start() error {
	end, leash, err := os.Pipe()
	if err != nil {
		return err
	}
	defer end.Close()
	s.leash, s.watchdog.Stdin = leash, end
	if err := s.watchdog.Start(); err != nil {
		leash.Close()
		return err
	}
	go func() {
		defer close(s.ended)
		s.watchdog.Wait() // its status says nothing: it ends by our wish
	}()
	return nil
}

func (s *server) stop() {
	s.leash.Close()
	<-s.ended
}

func (s *server) awaitReady() error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := s.exec("SELECT 1")
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-s.ended:
			return errors.New("PostgreSQL ended at once")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *server) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

func (s *server) url(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + database,
		RawQuery: url.Values{"host": {s.dir}}.Encode()}
	return u.String()
}

// programs returns the directory of the newest PostgreSQL programs on this machine.
func programs() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	newest, found := 0, ""
	for _, dir := range dirs {
		if v, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir))); v > newest {
			newest, found = v, dir
		}
	}
	if found == "" {
		return "", errors.New("no PostgreSQL on this machine: run scripts/setup")
	}
	return found, nil
}

// ownedByServer gives dir to the user that the server shall run as, and returns how to run as that
// user in a session of its own: a Ctrl-C at the terminal must reach the watchdog only as our end.
func ownedByServer(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, os.Chown(dir, int(uid), int(gid))
}

// anonymousFile returns a file that has no name and so goes with its last descriptor.
func anonymousFile() (*os.File, error) {
	f, err := os.CreateTemp("", "bs-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}
