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

// TestPlaces has connections come, log in and go: there are as many as the configuration says, and some who have not
// logged in.
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
	var all []*place
	for c := take(); c != nil; c = take() {
		all = append(all, c)
	}
	if len(all) != 2+spare {
		t.Fatalf("there are %d places, want %d", len(all), 2+spare)
	}
	enter := func(c *place, want bool) {
		t.Helper()
		if _, ok := c.enter(); ok != want {
			t.Errorf("a connection counts: %t, want %t", ok, want)
		}
	}
	enter(all[0], true)
	enter(all[0], true)
	enter(all[1], true)
	enter(all[2], false)
	all[0].Close()
	all[0].Close()
	enter(all[2], true)
	enter(all[3], false)
	all[4].Close() // which never counted
	enter(all[3], false)
	configure(3)
	given := 0
	for take() != nil {
		given++
	}
	if given != 3 {
		t.Errorf("where two have gone and one is added, %d are given", given)
	}
	enter(all[3], true)
}
