package enginetest

import (
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/pki"
)

// Users of nodes come from a range that no distribution and no container runtime uses, as the
// keeper's do.
const (
	firstUID = 1879048192
	lastUID  = 2147483000
)

// NewNode returns a node of the newest installation, with directories as the keeper makes them, a port and a
// certificate. It is not prepared. Its directories are removed when the test ends.
func NewNode(t testing.TB, e engine.Engine) engine.Node {
	t.Helper()
	found, err := e.Installations(t.Context())
	if err != nil || len(found) == 0 {
		t.Fatalf("no installation of the engine on this machine: run scripts/setup (%v)", err)
	}
	dir := testkit.MemoryDir(t)
	port, _ := testkit.Ports(t, 1)
	n := engine.Node{
		Instance: backstay.InstanceID(uuid.NewString()), Installation: found[0],
		DataDir: filepath.Join(dir, "i", "data"), LogFile: filepath.Join(dir, "i", "log", "engine.log"),
		RunDir: filepath.Join(dir, "r"), CacheDir: filepath.Join(dir, "c"), Account: newAccount(), Operator: operator(t),
		Ports:    []engine.Port{{Name: engine.ClientPort, Number: port, Listen: []string{"127.0.0.1"}}},
		Endpoint: backstay.Endpoint{Host: "localhost", Port: port}, TLS: Certificate(t, "localhost"),
		Size: backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 20}, Archive: true,
	}
	for _, d := range []string{n.CacheDir, filepath.Dir(n.DataDir)} { // engines may make things there as another user
		makeDir(t, d, 0o711, nil)
	}
	for _, d := range []string{filepath.Dir(n.LogFile), n.RunDir} {
		makeDir(t, d, 0o700, n.Account)
	}
	n.Admin = e.LocalAdmin(n)
	return n
}

// Private returns the node without a port, so that only its administrator reaches it.
func Private(e engine.Engine, n engine.Node) engine.Node {
	n.Ports, n.Endpoint, n.TLS = nil, backstay.Endpoint{}, backstay.Certificate{}
	n.Admin = e.LocalAdmin(n)
	return n
}

func makeDir(t testing.TB, path string, mode os.FileMode, a *engine.Account) {
	t.Helper()
	err := os.Mkdir(path, mode)
	if err == nil && a != nil {
		err = os.Chown(path, int(a.UID), int(a.GID))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func newAccount() *engine.Account {
	if os.Geteuid() != 0 {
		return nil
	}
	id := firstUID + rand.Uint32N(lastUID-firstUID)
	return &engine.Account{UID: id, GID: id}
}

func operator(t testing.TB) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

func Certificate(t testing.TB, names ...string) backstay.Certificate {
	t.Helper()
	authority, err := pki.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := authority.Issue(names, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}
