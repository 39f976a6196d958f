package front

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestAdministers(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		"/_plugins/_security/api/internalusers": true, "//_plugins//_security/api/account": true,
		"/_opendistro/_security/api/roles": true, "/_plugins/_security": true,
		"/": false, "": false, "/_plugins": false, "/_plugins/_sql": false, "/books/_doc/_security": false,
		"/books/_plugins/_security": false,
	} {
		if got := administers(path); got != want {
			t.Errorf("%q administers: %t", path, got)
		}
	}
}

// TestPlaces has connections come, log in and go: as many users as the configuration says, whatever strangers do.
func TestPlaces(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "front.json")
	configure := func(connections int) {
		text, err := json.Marshal(Config{Connections: connections})
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	configure(2)
	p := &places{path: path}
	take := func() *place {
		conn, _ := net.Pipe()
		return p.take(conn)
	}
	enter := func(c *place, want bool) {
		t.Helper()
		if _, full := c.full(); full == want {
			t.Errorf("there is no place: %t, want %t", full, !want)
		}
		if c.enter() != want {
			t.Errorf("a connection counts: %t, want %t", !want, want)
		}
	}
	first, second, third, fourth := take(), take(), take(), take()
	enter(first, true)
	enter(first, true)
	enter(second, true)
	enter(third, false)
	for range 2 * (2 + spare) {
		take()
	}
	enter(first, true)
	first.Close()
	first.Close()
	enter(third, true)
	enter(fourth, false)
	take().Close() // which never counted
	enter(fourth, false)
	configure(3)
	take()
	enter(fourth, true)
}
