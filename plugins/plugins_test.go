package plugins_test

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay/plugins"
)

type listed struct {
	Plugins []struct {
		Name, Version, Created, Updated string
		Binaries                        []struct{ Platform, URL, Checksum string }
	}
}

func get(t *testing.T, url string) (int, []byte) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, body
}

func TestRepository(t *testing.T) {
	t.Parallel()
	r := &plugins.Repository{Dir: t.TempDir(), Version: "v1.2.3-rc1", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	s := httptest.NewServer(r.Handler())
	defer s.Close()
	r.URL = s.URL
	list := func() (l listed) {
		t.Helper()
		status, body := get(t, s.URL+"/list")
		if err := json.Unmarshal(body, &l); err != nil || status != http.StatusOK || l.Plugins == nil {
			t.Fatalf("list: %d %s %v", status, body, err)
		}
		return l
	}
	if l := list(); len(l.Plugins) != 0 {
		t.Errorf("there is nothing to install: %+v", l)
	}
	path := filepath.Join(r.Dir, "cf-conduit-linux64")
	for age, content := range []string{"first", "second"} { // the second takes the first's place
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(time.Duration(age) * time.Minute)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
		l := list()
		if len(l.Plugins) != 1 || len(l.Plugins[0].Binaries) != 1 || l.Plugins[0].Version != "1.2.3" {
			t.Fatalf("list: %+v", l)
		}
		if _, err := time.Parse(time.RFC3339, l.Plugins[0].Updated); err != nil {
			t.Error(err)
		}
		b := l.Plugins[0].Binaries[0]
		status, body := get(t, b.URL)
		sum := sha1.Sum(body)
		if status != http.StatusOK || string(body) != content || b.Checksum != hex.EncodeToString(sum[:]) ||
			b.Platform != "linux64" {
			t.Errorf("%+v: %d %q", b, status, body)
		}
	}
	if err := os.WriteFile(filepath.Join(r.Dir, "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/conduit/win64", "/conduit/nothing", "/conduit/..%2fsecret", "/secret"} {
		if status, _ := get(t, s.URL+path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestSemantic(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"v1.2.3": "1.2.3", "1.2.3+dirty": "1.2.3", "": "1.0.0", "(devel)": "1.0.0", "v0.0.0-2026-abc": "1.0.0"} {
		if got := plugins.Semantic(version); got != want {
			t.Errorf("%q: %s, want %s", version, got, want)
		}
	}
}
