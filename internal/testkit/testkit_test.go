package testkit_test

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func TestPostgresGivesEachTestItsOwnDatabase(t *testing.T) {
	t.Parallel()
	a, b := connect(t, testkit.Postgres(t)), connect(t, testkit.Postgres(t))
	for _, conn := range []*pgx.Conn{a, b} {
		if _, err := conn.Exec(t.Context(), "CREATE TABLE things (n int)"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPostgresDropsADatabaseInUse(t *testing.T) {
	t.Parallel()
	var dsn string
	t.Run("user", func(t *testing.T) {
		dsn = testkit.Postgres(t)
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn // left open on purpose
	})
	if conn, err := pgx.Connect(t.Context(), dsn); err == nil {
		conn.Close(t.Context())
		t.Error("the database outlived its test")
	}
}

// A test process that is killed cannot stop its server: the server must notice by itself.
func TestServerEndsWithAKilledProcess(t *testing.T) {
	t.Parallel()
	if os.Getenv("TESTKIT_VICTIM") != "" {
		os.Stdout.WriteString(testkit.Postgres(t) + "\n")
		select {}
	}
	victim := exec.Command(os.Args[0], "-test.run=^TestServerEndsWithAKilledProcess$")
	victim.Env = append(os.Environ(), "TESTKIT_VICTIM=1")
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	victim.Process.Kill()
	victim.Wait()
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(line[:len(line)-1])
	if err != nil {
		t.Fatal(err)
	}
	dir := u.Query().Get("host")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		_, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there (%v)", dir, err)
		}
	}
}

func TestPortsAreNotGivenTwice(t *testing.T) {
	t.Parallel()
	taken := map[int]bool{}
	for range 20 {
		first, last := testkit.Ports(t, 25)
		if first < 20000 || last > 31999 || last-first != 24 {
			t.Fatalf("got %d to %d", first, last)
		}
		for port := first; port <= last; port++ {
			if taken[port] {
				t.Fatalf("port %d was given twice", port)
			}
			taken[port] = true
		}
	}
}

func TestDirGoesWithTheTest(t *testing.T) {
	t.Parallel()
	var dir string
	t.Run("user", func(t *testing.T) {
		dir = testkit.Dir(t)
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o711 {
			t.Fatalf("stat: %v, %v", info, err)
		}
		if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there (%v)", dir, err)
	}
}
