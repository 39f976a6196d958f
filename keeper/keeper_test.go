package keeper_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

const limit = 30 * time.Second

func newSpec(t testing.TB) backend.Spec {
	return backend.Spec{
		Instance: backstay.InstanceID(uuid.NewString()), Generation: 1, Engine: "postgres", Version: "15",
		Size: backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 20}, TLS: enginetest.Certificate(t, "localhost"),
	}
}

func mustApply(t *testing.T, b *local.Backend) backend.Spec {
	t.Helper()
	spec := newSpec(t)
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// until follows a status until it is as wanted.
func until(t *testing.T, b *local.Backend, id backstay.InstanceID, wanted func(backend.Status) bool) backend.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var s backend.Status
	for {
		next, err := b.Await(ctx, id, s.Revision)
		if err != nil {
			t.Fatalf("%v; the last status was %+v", err, s)
		}
		if s = next; wanted(s) {
			return s
		}
	}
}

func running(s backend.Status) bool { return s.Phase == backend.Running }

func mustUser(t *testing.T, b *local.Backend, id backstay.InstanceID) *pgx.Conn {
	t.Helper()
	c, err := b.CreateUser(t.Context(), id, backend.User{Name: "u1", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), c["uri"].(string)+"?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func TestEnginesOutliveTheirKeeper(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, stop := keepertest.Run(t, c)
	spec := mustApply(t, b)
	session := mustUser(t, b, spec.Instance)
	before := until(t, b, spec.Instance, running)
	stop()
	if err := session.Ping(t.Context()); err != nil {
		t.Fatalf("the session did not outlive the keeper: %v", err)
	}
	b, _ = keepertest.Run(t, c)
	after := until(t, b, spec.Instance, running)
	if after.PID != before.PID || after.Endpoint != before.Endpoint || after.Revision <= before.Revision {
		t.Errorf("after the keeper's return: %+v, before: %+v", after, before)
	}
	if err := session.Ping(t.Context()); err != nil {
		t.Errorf("the session did not live through the adoption: %v", err)
	}
}

func TestKilledEngineIsStartedAgain(t *testing.T) {
	t.Parallel()
	b, _ := keepertest.Run(t, keepertest.Config(t, 1))
	spec := mustApply(t, b)
	before := until(t, b, spec.Instance, running)
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, b, spec.Instance, func(s backend.Status) bool { return s.Phase == backend.Running && s.PID != before.PID })
}

// TestEngineComesUpWhenItCan takes the engine's programs away and brings them back.
func TestEngineComesUpWhenItCan(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	root := testkit.Dir(t)
	c.Engines = map[string]engine.Engine{"postgres": postgres.Engine{Root: root}}
	b, _ := keepertest.Run(t, c)
	spec := mustApply(t, b)
	s := until(t, b, spec.Instance, func(s backend.Status) bool { return s.Phase == backend.Failing })
	if s.Message != "postgres 15 is not installed on this machine." {
		t.Errorf("the reason is %q", s.Message)
	}
	if err := os.Symlink("/usr/lib/postgresql/15", filepath.Join(root, "15")); err != nil {
		t.Fatal(err)
	}
	until(t, b, spec.Instance, running)
}

func TestRemoveLeavesNothing(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, _ := keepertest.Run(t, c)
	spec := mustApply(t, b)
	s := until(t, b, spec.Instance, running)
	if err := b.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	for err := error(nil); backstay.KindOf(err) != backstay.NotFound; {
		if s, err = b.Await(t.Context(), spec.Instance, s.Revision); err != nil && backstay.KindOf(err) != backstay.NotFound {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"instances", "run", "keeper/instances"} {
		entries, err := os.ReadDir(filepath.Join(c.DataDir, dir))
		if err != nil || len(entries) > 0 {
			t.Errorf("%s holds %v, %v; want nothing", dir, entries, err)
		}
	}
}

func TestPortsAreGivenOnceAndUsedUp(t *testing.T) {
	t.Parallel()
	const room = 3
	b, _ := keepertest.Run(t, keepertest.Config(t, room))
	var all sync.WaitGroup
	refusals := make(chan error, room+1)
	specs := make([]backend.Spec, room+1)
	for i := range specs {
		specs[i] = newSpec(t)
		all.Go(func() { refusals <- b.Apply(t.Context(), specs[i]) })
	}
	all.Wait()
	close(refusals)
	refused := 0
	for err := range refusals {
		if err == nil {
			continue
		}
		refused++
		if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(backstay.SentenceOf(err), "No free port is left in the range") {
			t.Errorf("refused with %v", err)
		}
	}
	ports := map[int]bool{}
	for _, spec := range specs {
		if s, err := b.Await(t.Context(), spec.Instance, 0); err == nil {
			ports[s.Endpoint.Port] = true
		}
	}
	if refused != 1 || len(ports) != room {
		t.Errorf("%d were refused, and the others have ports %v; want 1, and %d", refused, ports, room)
	}
	if err := b.Admit(t.Context(), newSpec(t)); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("Admit: %v", err)
	}
}

func TestDiskNearlyFull(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	c.MinFree = 1 << 60
	b, _ := keepertest.Run(t, c)
	for what, err := range map[string]error{"Admit": b.Admit(t.Context(), newSpec(t)), "Apply": b.Apply(t.Context(), newSpec(t))} {
		if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(backstay.SentenceOf(err), "The disk is nearly full") {
			t.Errorf("%s: %v", what, err)
		}
	}
	ours := newSpec(t)
	ours.Private, ours.TLS = true, backstay.Certificate{}
	if err := b.Apply(t.Context(), ours); err != nil {
		t.Errorf("our own database is refused: %v", err)
	}
}

func TestOneKeeperPerDirectory(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	keepertest.Run(t, c)
	if err := keeper.Run(t.Context(), c); !errors.Is(err, keeper.ErrKept) {
		t.Errorf("a second keeper: %v, want %v", err, keeper.ErrKept)
	}
	if _, err := keeper.StopEngines(c.DataDir, c.Engines); !errors.Is(err, keeper.ErrKept) {
		t.Errorf("StopEngines: %v, want %v", err, keeper.ErrKept)
	}
}

func TestStopEndsEnginesWithClients(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, _ := keepertest.Run(t, c)
	spec := mustApply(t, b)
	mustUser(t, b, spec.Instance)
	pid := until(t, b, spec.Instance, running).PID
	response := request(t, c, "POST", "/v1/stop", "")
	if response.StatusCode != http.StatusNoContent {
		t.Errorf("stop: %s", response.Status)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the engine outlived stop: %v", err)
	}
}

// TestStrangersAreLeftAlone has pid files name processes that are not engines of ours.
func TestStrangersAreLeftAlone(t *testing.T) {
	t.Parallel()
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer stranger.Wait()
	defer stranger.Process.Kill()
	c := keepertest.Config(t, 1)
	b, stop := keepertest.Run(t, c)
	spec := mustApply(t, b)
	s := until(t, b, spec.Instance, running)
	stop()
	if _, err := keeper.StopEngines(c.DataDir, c.Engines); err != nil {
		t.Fatal(err)
	}
	pidFile := filepath.Join(c.DataDir, "run", fmt.Sprint(s.Endpoint.Port), "node.pid")
	for _, text := range []string{fmt.Sprint(stranger.Process.Pid), "1", "4194305", "", "nonsense"} {
		if err := os.WriteFile(pidFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b, stop = keepertest.Run(t, c)
		if s := until(t, b, spec.Instance, running); s.PID == stranger.Process.Pid {
			t.Error("a stranger was adopted")
		}
		stop()
		if _, err := keeper.StopEngines(c.DataDir, c.Engines); err != nil {
			t.Fatal(err)
		}
	}
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a stranger was killed: %v", err)
	}
}

// TestUnreadableRecordsAreLeftAlone lets the other instances live.
func TestUnreadableRecordsAreLeftAlone(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 2)
	b, stop := keepertest.Run(t, c)
	spec := mustApply(t, b)
	until(t, b, spec.Instance, running)
	stop()
	records := filepath.Join(c.DataDir, "keeper", "instances")
	for name, text := range map[string]string{"half.json": `{"spec": {"inst`, "empty.json": "", "other.json": `{"spec": {"instance": "x", "generation": 1}}`, ".half.json-123": "{"} {
		if err := os.WriteFile(filepath.Join(records, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, _ = keepertest.Run(t, c)
	until(t, b, spec.Instance, running)
	for _, name := range []string{"half.json", "empty.json", "other.json"} {
		if _, err := os.Stat(filepath.Join(records, name)); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
}

// TestEverythingIsPrivate looks at the modes of all that the keeper makes.
func TestEverythingIsPrivate(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b, stop := keepertest.Run(t, c)
	spec := mustApply(t, b)
	until(t, b, spec.Instance, running)
	stop()
	allowed := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		allowed = 0o711 // directories that other users pass through
	}
	err := filepath.WalkDir(c.DataDir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) || d.Type() == fs.ModeSymlink {
			return nil
		}
		if err == nil && (info.Mode().Perm()&^allowed != 0 || !d.IsDir() && info.Mode().Perm()&0o077 != 0) {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// request speaks the protocol by hand.
func request(t *testing.T, c keeper.Config, method, path, body string) *http.Response {
	t.Helper()
	socket := filepath.Join(c.DataDir, "keeper", "keeper.sock")
	client := http.Client{Timeout: limit, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://keeper"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	response.Body = io.NopCloser(bytes.NewReader(text))
	return response
}

func TestProtocolIsStrict(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	keepertest.Run(t, c)
	const spec = `{"instance": "i", "generation": 1, "engine": "postgres", "version": "15"`
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"who it is", "GET", "/v1/keeper", "", 200, `"protocol":1`},
		{"another version", "GET", "/v2/keeper", "", 404, ""},
		{"unknown field", "PUT", "/v1/instances/i", spec + `, "colour": "red"}`, 422, "invalid"},
		{"two values", "PUT", "/v1/instances/i", spec + `} {}`, 422, "invalid"},
		{"not JSON", "PUT", "/v1/instances/i", "{", 422, "invalid"},
		{"too long", "PUT", "/v1/instances/i", `{"instance": "` + strings.Repeat("i", 2<<20) + `"}`, 422, "invalid"},
		{"another id", "PUT", "/v1/instances/j", spec + "}", 422, "invalid"},
		{"path for an id", "PUT", "/v1/instances/..%2F..%2Fetc", `{"instance": "../../etc", "generation": 1, "engine": "postgres"}`, 422, "invalid"},
		{"revision that is none", "GET", "/v1/instances/i?after=soon", "", 422, "invalid"},
		{"unknown instance", "GET", "/v1/instances/i", "", 404, "not-found"},
		{"user of an unknown instance", "PUT", "/v1/instances/i/users/u", `{"name": "u", "password": "p"}`, 404, "not-found"},
		{"another user", "PUT", "/v1/instances/i/users/u", `{"name": "v", "password": "p"}`, 422, "invalid"},
		{"all instances", "GET", "/v1/instances", "", 200, "[]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			response := request(t, c, tc.method, tc.path, tc.body)
			text, _ := io.ReadAll(response.Body)
			if response.StatusCode != tc.status || !strings.Contains(string(text), tc.want) {
				t.Errorf("%s %s, want %d %s", response.Status, text, tc.status, tc.want)
			}
		})
	}
}

func TestParsePortRange(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]keeper.PortRange{"20000-29999": {First: 20000, Last: 29999}, "1024-1024": {First: 1024, Last: 1024}, "1024-65535": {First: 1024, Last: 65535}} {
		if got, err := keeper.ParsePortRange(text); err != nil || got != want || got.String() != text {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "20000", "-", "20000-", "-20000", "2-1", "80-90", "20000-65536", "a-b", "20000-29999-30000", "29999-20000"} {
		if got, err := keeper.ParsePortRange(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func FuzzParsePortRange(f *testing.F) {
	f.Add("20000-29999")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := keeper.ParsePortRange(text)
		if err != nil {
			return
		}
		if again, err := keeper.ParsePortRange(r.String()); err != nil || again != r || r.First > r.Last {
			t.Errorf("%q is %v, which comes back as %v, %v", text, r, again, err)
		}
	})
}
