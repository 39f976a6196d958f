package postgres

import (
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

func TestAccessRules(t *testing.T) {
	t.Parallel()
	const local = "local all backstay peer map=operator\n"
	for _, tc := range []struct {
		name   string
		listen []string
		want   string
	}{
		{"private", nil, local},
		{"served", []string{"127.0.0.1"},
			local + "hostnossl all all all reject\nhostssl all backstay all reject\nhostssl main all all scram-sha-256\n"},
	} {
		if got := accessRules(engine.Node{Ports: listening(tc.listen...)}, shutOut{}); got != tc.want {
			t.Errorf("%s: got\n%swant\n%s", tc.name, got, tc.want)
		}
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		size                  backstay.Size
		buffers, work, upkeep string
	}{
		{backstay.Size{}, "16384kB", "4096kB", "16384kB"},
		{backstay.Size{Memory: 512 * backstay.MB, Connections: 20}, "65536kB", "6553kB", "32768kB"},
		{backstay.Size{Memory: 8 * backstay.GB, Connections: 200}, "1048576kB", "10485kB", "524288kB"},
		{backstay.Size{Memory: backstay.TB, Connections: 10}, "4194304kB", "65536kB", "1048576kB"},
	} {
		got := map[string]string{}
		for _, s := range memory(tc.size) {
			got[s.name] = s.value
		}
		if got["shared_buffers"] != tc.buffers || got["work_mem"] != tc.work || got["maintenance_work_mem"] != tc.upkeep {
			t.Errorf("%v: got %v, want %s, %s, %s", tc.size, got, tc.buffers, tc.work, tc.upkeep)
		}
	}
}

// TestCompressionIsKnown asks for what a server knows of, and no other: it would not start.
func TestCompressionIsKnown(t *testing.T) {
	t.Parallel()
	found, err := Engine{}.Installations(t.Context())
	if err != nil || len(found) == 0 {
		t.Fatalf("no PostgreSQL: %v", err)
	}
	old, other := found[0], found[0]
	old.Version, other.Dir = "14", t.TempDir()
	for _, i := range []engine.Installation{old, other} {
		if got := compression(i); got != nil {
			t.Errorf("%+v: got %v", i, got)
		}
	}
}

func listening(addresses ...string) []engine.Port {
	return []engine.Port{{Name: engine.ClientPort, Number: 20000, Listen: addresses}}
}

func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	good := engine.Node{Operator: "root", RunDir: "/run/x", Ports: listening("127.0.0.1", "::1")}
	if _, err := configFiles(good, settings{}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*engine.Node){
		"a line feed in a path":    func(n *engine.Node) { n.RunDir = "/run/x\nssl=off" },
		"an operator that is none": func(n *engine.Node) { n.Operator = "" },
		"an operator as a pattern": func(n *engine.Node) { n.Operator = "/.*" },
		"an operator as a group":   func(n *engine.Node) { n.Operator = "+all" },
		"an operator with a quote": func(n *engine.Node) { n.Operator = `x" backstay` },
	} {
		n := good
		change(&n)
		if files, err := configFiles(n, settings{}); err == nil {
			t.Errorf("%s is taken: %v", name, files["pg_ident.conf"])
		}
	}
}

// Keys and certificates are in files of their own, and nothing else is.
func TestConfigFiles(t *testing.T) {
	t.Parallel()
	n := engine.Node{Operator: "root", RunDir: "/run/it's", Ports: listening("127.0.0.1"),
		TLS: backstay.Certificate{Leaf: "leaf", Key: "key"}}
	files, err := configFiles(n, settings{})
	if err != nil || files["server.key"] != "key" || files["server.crt"] != "leaf" {
		t.Fatalf("got %v, %v", files, err)
	}
	if !strings.Contains(files["postgresql.conf"], "unix_socket_directories = '\"/run/it''s\"'\n") {
		t.Errorf("the directory of the socket is not quoted:\n%s", files["postgresql.conf"])
	}
	n.Ports = nil
	if files, err = configFiles(n, settings{}); err != nil || len(files) != 3 ||
		!strings.Contains(files["postgresql.conf"], "ssl = 'off'\n") {
		t.Errorf("private: got %v, %v", files, err)
	}
}
