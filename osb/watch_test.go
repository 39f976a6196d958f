package osb_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/osb/osbtest"
)

// ailing is a broker that tells of one instance that it does not serve, and of another one what is wrong with it.
type ailing struct {
	*brokertest.Memory
	unknown error
}

func (a ailing) Unhealthy(context.Context) (map[backstay.InstanceID]string, error) {
	return map[backstay.InstanceID]string{"down": "It has \x1b[31mno memory.\u202e"}, nil
}

func (a ailing) Troubles(context.Context) (map[backstay.InstanceID][]backstay.Trouble, error) {
	return map[backstay.InstanceID][]backstay.Trouble{"up": {{Kind: "archive", Sentence: "It is \abehind."}}}, a.unknown
}

// TestChangesBackToBack: what a broker changes of its own accord is heard at once, and nothing after a while.
func TestChangesBackToBack(t *testing.T) {
	t.Parallel()
	m := brokertest.NewMemory()
	h := osbtest.Handler(t, m)
	h.Linger = 2 * time.Second
	c := osbtest.Ask(t, httptest.NewServer(h.Handler()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !c.Watches(ctx) {
		t.Fatal("it does not tell of its changes")
	}
	r := brokertest.MustProvision(t, c)
	time.AfterFunc(50*time.Millisecond, func() { m.Change(r.InstanceID, func(*backstay.ProvisionRequest) {}) })
	changed, seen, err := c.AwaitChanges(ctx, 0)
	if err != nil || !slices.Equal(changed, []backstay.InstanceID{r.InstanceID}) || seen != 1 {
		t.Errorf("after everything: %v until %d, %v", changed, seen, err)
	}
	changed, again, err := c.AwaitChanges(ctx, seen)
	if err != nil || len(changed) > 0 || again != seen {
		t.Errorf("while nothing changes: %v until %d, %v", changed, again, err)
	}
	changed, seen, err = c.AwaitChanges(ctx, 99)
	if err != nil || len(changed) != 1 || seen != 1 {
		t.Errorf("since a moment that has not been: %v until %d, %v", changed, seen, err)
	}
}

// TestAnEndOfWaiting lets nobody wait who would hold up the end of the server.
func TestAnEndOfWaiting(t *testing.T) {
	t.Parallel()
	ending := make(chan struct{})
	h := osbtest.Handler(t, brokertest.NewMemory())
	h.Linger, h.Ending = time.Hour, ending
	c := osbtest.Ask(t, httptest.NewServer(h.Handler()))
	if !c.Watches(t.Context()) {
		t.Fatal("it does not tell of its changes")
	}
	time.AfterFunc(50*time.Millisecond, func() { close(ending) })
	if changed, seen, err := c.AwaitChanges(t.Context(), 7); err != nil || len(changed) > 0 || seen != 7 {
		t.Errorf("%v until %d, %v", changed, seen, err)
	}
}

// TestHealthBackToBack: what is told can be shown on a terminal.
func TestHealthBackToBack(t *testing.T) {
	t.Parallel()
	for name, unknown := range map[string]error{"all": nil, "some": failing(backstay.Unavailable).err} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := osbtest.Serve(t, ailing{brokertest.NewMemory(), unknown})
			if _, err := c.Unhealthy(t.Context()); backstay.KindOf(err) != backstay.Unavailable {
				t.Errorf("before anything is known of the broker: %v", err)
			}
			if !c.Watches(t.Context()) {
				t.Fatal("it does not tell of its changes")
			}
			unhealthy, err := c.Unhealthy(t.Context())
			if err != nil || unhealthy["down"] != "It has [31mno memory." {
				t.Errorf("unhealthy are %q, %v", unhealthy, err)
			}
			troubles, err := c.Troubles(t.Context())
			if (err != nil) != (unknown != nil) || len(troubles["up"]) != 1 ||
				troubles["up"][0] != (backstay.Trouble{Kind: "archive", Sentence: "It is behind."}) {
				t.Errorf("troubles are %q, %v", troubles, err)
			}
		})
	}
}

// TestWhatAForeignBrokerTells: a broker without our extensions has its catalog read once for them, and is asked for
// nothing else. One that answers strangely is believed nothing.
func TestWhatAForeignBrokerTells(t *testing.T) {
	t.Parallel()
	const ours = `{"services": [], "backstay_extensions": ["changes", "health", "troubles"]}`
	for _, c := range []struct {
		name, catalog string
		status        int
		marked        bool
		body          string
		want          backstay.Kind
		asked         int32 // how often it is asked for changes by who asks twice
	}{
		{"foreign", `{"services": []}`, 200, true, `{"changed": ["i"], "seen": 1}`, backstay.Unsupported, 0},
		{"a proxy's 404", ours, 404, false, `{}`, backstay.Unavailable, 2},
		{"not marked", ours, 200, false, `{"changed": ["i"], "seen": 1}`, backstay.Unavailable, 2},
		{"down", ours, 503, false, `{}`, backstay.Unavailable, 2},
		{"before everything", ours, 200, true, `{"changed": ["i"], "seen": -1}`, backstay.Unavailable, 2},
		{"no numbers", ours, 200, true, `{"changed": ["i"], "seen": "1"}`, backstay.Unavailable, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var catalogs, asked atomic.Int32
			mux := http.NewServeMux()
			mux.HandleFunc("GET /v2/catalog", func(w http.ResponseWriter, _ *http.Request) {
				catalogs.Add(1)
				w.Write([]byte(c.catalog))
			})
			mux.HandleFunc("GET /v2/backstay/changes", func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				if c.marked {
					w.Header().Set("X-Backstay-Extension", "changes")
				}
				w.WriteHeader(c.status)
				w.Write([]byte(c.body))
			})
			b := osbtest.Ask(t, httptest.NewServer(mux))
			b.Watches(t.Context())
			for range 2 {
				if _, _, err := b.AwaitChanges(t.Context(), 0); backstay.KindOf(err) != c.want {
					t.Errorf("%v is %v; want %v", err, backstay.KindOf(err), c.want)
				}
			}
			b.Watches(t.Context())
			doubted := int32(0)
			if !c.marked && c.status != 503 {
				doubted = 1
			}
			if asked.Load() != c.asked || catalogs.Load() != 1+doubted {
				t.Errorf("it is asked %d times for changes and %d times for its catalog", asked.Load(), catalogs.Load())
			}
		})
	}
}

// TestAProxyAnswers for a broker of ours that is away for a moment: nothing that the broker would have told is taken for
// nothing, and whatever it is asked about is known again once it is back. When its catalog says that it is another one now,
// it is.
func TestAProxyAnswers(t *testing.T) {
	t.Parallel()
	var away, other atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/catalog", func(w http.ResponseWriter, _ *http.Request) {
		extensions := `["overwrites", "health"]`
		if other.Load() {
			extensions = `[]`
		}
		w.Write([]byte(`{"services": [], "backstay_extensions": ` + extensions + `}`))
	})
	mux.HandleFunc("/v2/backstay/{name}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Backstay-Extension", r.PathValue("name"))
		w.Write([]byte(`{"overwrites": true, "unhealthy": {"i": "` + strings.Repeat("x", 3000) + `", "\u0000": "", "j": "a\n\nb"}}`))
	})
	b := osbtest.Ask(t, httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() || other.Load() && r.URL.Path != "/v2/catalog" {
			http.NotFound(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})))
	ask := func() (bool, error) { return b.Overwrites(t.Context(), json.RawMessage(`{}`)) }
	if does, err := ask(); !does || err != nil {
		t.Fatalf("it overwrites: %t, %v", does, err)
	}
	away.Store(true)
	for range 2 {
		if _, err := ask(); backstay.KindOf(err) != backstay.Unavailable {
			t.Errorf("while a proxy answers: %v", err)
		}
	}
	away.Store(false)
	if does, err := ask(); !does || err != nil {
		t.Errorf("once it is back it overwrites: %t, %v", does, err)
	}
	unhealthy, err := b.Unhealthy(t.Context())
	if err != nil || len(unhealthy) != 2 || unhealthy["j"] != "a b" || len(unhealthy["i"]) > 2100 {
		t.Errorf("unhealthy are %q, %v", unhealthy, err)
	}
	other.Store(true)
	if _, err := b.RawCatalog(t.Context(), backstay.Call{}); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(); backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("of another broker: %v", err)
	}
}

// TestChangesTable is what is no request for changes.
func TestChangesTable(t *testing.T) {
	t.Parallel()
	for request, want := range map[string]int{
		"GET /v2/backstay/changes": 400, "GET /v2/backstay/changes?after=-1": 400, "GET /v2/backstay/changes?after=now": 400,
		"GET /v2/backstay/health": 404, "GET /v2/backstay/nothing": 404,
	} {
		if status, _, got := ask(t, brokertest.NewMemory(), request, "", nil); status != want {
			t.Errorf("%s is answered with %d %s; want %d", request, status, got, want)
		}
	}
}

// returner is a broker whose instances return to an earlier moment.
type returner struct{ *brokertest.Memory }

func (returner) Overwrites(_ context.Context, parameters json.RawMessage) (bool, error) {
	return strings.Contains(string(parameters), `"restore_to_point_in_time"`), nil
}

// TestOverwritesBackToBack: what an update does to an instance's data is known before it is asked for. Where that cannot
// be found out it is not taken for harmless.
func TestOverwritesBackToBack(t *testing.T) {
	t.Parallel()
	c := osbtest.Serve(t, returner{brokertest.NewMemory()})
	for parameters, want := range map[string]bool{`{"restore_to_point_in_time": "then"}`: true, `{"reboot": true}`: false} {
		if got, err := c.Overwrites(t.Context(), json.RawMessage(parameters)); err != nil || got != want {
			t.Errorf("%s: %t, %v", parameters, got, err)
		}
	}
	_, err := osbtest.Serve(t, brokertest.NewMemory()).Overwrites(t.Context(), json.RawMessage(`{}`))
	if backstay.KindOf(err) != backstay.Unsupported {
		t.Errorf("a broker that cannot tell: %v", err)
	}
	down := osbtest.Ask(t, httptest.NewServer(http.NotFoundHandler()))
	if _, err := down.Overwrites(t.Context(), json.RawMessage(`{}`)); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("a broker that does not answer: %v", err)
	}
}
