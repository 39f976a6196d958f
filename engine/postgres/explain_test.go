package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/engine"
)

const stamp = "2026-01-02 03:04:05.678 UTC "

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, line, said string
		ok               bool
	}{
		{"serves", stamp + "[7] LOG:  database system is ready to accept connections", "", true},
		{"port taken", stamp + "[7] FATAL:  could not create any TCP/IP sockets",
			"could not create any TCP/IP sockets", true},
		{"panic", stamp + "[7] PANIC:  could not locate a valid checkpoint record",
			"could not locate a valid checkpoint record", true},
		{"killed", stamp + "[7] LOG:  server process (PID 9) was terminated by signal 9: Killed",
			"server process (PID 9) was terminated by signal 9: Killed", true},
		{"exited", stamp + "[7] LOG:  startup process (PID 9) exited with exit code 1",
			"startup process (PID 9) exited with exit code 1", true},
		{"not found", "/x/node.pid: 1: exec: /no/such/postgres: not found", "postgres: not found", true},
		{"not loaded", "/usr/lib/postgresql/15/bin/postgres: error while loading shared libraries: libx.so",
			"postgres: error while loading shared libraries: libx.so", true},
		{"not begun", "postgres: could not access directory \"/x\": Permission denied",
			"postgres: could not access directory \"/x\": Permission denied", true},
		{"a client's loader", stamp + "[8] u1@main WARNING:  /x/postgres: spoof", "", false},
		{"a line of a client's loader", "\tpostgres: spoof", "", false},
		{"a client's mistake", stamp + "[8] u1@main FATAL:  password authentication failed for user \"u1\"", "", false},
		{"a client that says so", stamp + "[8] u1@main LOG:  database system is ready to accept connections", "", false},
		{"a client's words", stamp + "[8] u1@main WARNING:  x", "", false},
		{"a line of a client's words", "\t" + stamp + "[7] FATAL:  spoof", "", false},
		{"orderly", stamp + "[7] LOG:  database system is shut down", "", false},
		{"empty", "", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if said, ok := verdict(tc.line); said != tc.said || ok != tc.ok {
				t.Errorf("got %q, %t, want %q, %t", said, ok, tc.said, tc.ok)
			}
		})
	}
}

// The last word counts, in the file that was written last.
func TestExplain(t *testing.T) {
	t.Parallel()
	n := engine.Node{LogFile: filepath.Join(t.TempDir(), "engine.log")}
	ready := stamp + "[7] LOG:  database system is ready to accept connections\n"
	for _, tc := range []struct{ log, want string }{
		{stamp + "[7] FATAL:  first\n" + stamp + "[7] FATAL:  last\n", "last"},
		{stamp + "[7] FATAL:  first\n" + ready, ""},
		{ready + stamp + "[7] LOG:  server process (PID 9) was terminated by signal 9: Killed\n" + stamp + "[7] LOG:  terminating any other active server processes\n",
			"server process (PID 9) was terminated by signal 9: Killed"},
		{stamp + "[7] FATAL:  reason\n" + stamp + "[8] u1@main WARNING:  " + strings.Repeat("x", 3<<20) + "\n", "reason"},
		{stamp + "[8] u1@main WARNING:  " + strings.Repeat("x", 5000) + "\n" + stamp + "[7] FATAL:  no line feed",
			"no line feed"},
		{"", ""},
	} {
		if err := os.WriteFile(n.LogFile, []byte(tc.log), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := (Engine{}).Explain(n); got != tc.want {
			t.Errorf("of %q: got %q, want %q", tc.log[:min(len(tc.log), 200)], got, tc.want)
		}
	}
}
