package cfapi

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/market/markettest"
	"github.com/backstay/backstay/state"
	"github.com/backstay/backstay/uaa"
)

var update = flag.Bool("update", false, "write what is answered into testdata and docs")

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// TestGolden plays the conversations of testdata/*.txtar against the API on a real market. A section
// named by a request ("POST /v3/apps as shop", "GET /v3/apps by nobody") holds its body and is
// followed by one named by the status, with the Location and the body of the answer. "as" gives a
// name to the guid that the answer is about; <name> stands for it everywhere. Lines that begin with
// "#" are comments. Sections without an answer move the scene: "AWAIT job", and the broker's moods
// "HOLD", "FAIL" (with a sentence) and "GO". From "UPDATEABLE" on, it sells what can be updated, from "RELEASE version"
// on that version of it, and at "WINDOW instance" it makes the change that waits for that.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, file := range conversations(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			script, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newStage(t).play(script)
			if *update {
				if err := os.WriteFile(file, txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			compare(t, script, got)
		})
	}
}

func conversations(t testing.TB) []string {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	return files
}

func compare(t *testing.T, want, got *txtar.Archive) {
	for i := range got.Files {
		if i >= len(want.Files) || want.Files[i].Name != got.Files[i].Name ||
			!bytes.Equal(want.Files[i].Data, got.Files[i].Data) {
			wanted := txtar.File{Name: "nothing more"}
			if i < len(want.Files) {
				wanted = want.Files[i]
			}
			t.Fatalf("after %q (run with -update if this is right)\ngot  %s\n%s\nwant %s\n%s",
				got.Files[max(0, i-1)].Name, got.Files[i].Name, got.Files[i].Data, wanted.Name, wanted.Data)
		}
	}
	if len(want.Files) > len(got.Files) {
		t.Fatalf("nothing answers %q", want.Files[len(got.Files)].Name)
	}
}

// stage is an API with all behind it, and the names of the guids that were seen.
type stage struct {
	t      *testing.T
	server *Server
	broker *moody
	names  map[string]string // by guid
}

func newStage(t *testing.T) *stage {
	b := &moody{Memory: brokertest.NewMemory()}
	b.set(nil, false)
	s := newServer(t, b)
	for _, by := range s.Authenticator.(people) {
		if err := s.Market.Store.(*state.Store).AddUser(t.Context(),
			uaa.User{ID: by.UserID, Username: by.Username, PasswordHash: "none"}, backstay.Event{}); err != nil &&
			by != markettest.Admin {
			t.Fatal(err)
		}
	}
	return &stage{
		t:      t,
		broker: b,
		server: s,
		names: map[string]string{
			string(markettest.Broker.ID):           "broker",
			string(markettest.Admin.UserID):        "admin",
			string(backstay.DefaultQuota):          "default",
			"00000000-0000-4000-8000-00000000000a": "postgres",
			"00000000-0000-4000-8000-00000000000b": "Free",
			"00000000-0000-4000-8000-00000000000c": "M-dedicated-15",
		},
	}
}

func newServer(t testing.TB, b backstay.Broker) *Server {
	return newServerAt(t, b, testkit.Postgres(t))
}

func newServerAt(t testing.TB, b backstay.Broker, dsn string) *Server {
	return &Server{
		Market: markettest.NewAmong(t, dsn, markettest.Seller{ServiceBroker: markettest.Broker, Broker: b},
			foreign("https://redis.example.org/broker", "redis"), foreign("https://empty.example.org", ""),
			foreign("https://postgres.example.org", "postgres")),
		Authenticator: people{
			"bearer admin": markettest.Admin, "bearer bob": {UserID: "00000000-0000-4000-8000-0000000000bb", Username: "bob"},
			"bearer ann": {UserID: "00000000-0000-4000-8000-0000000000ab", Username: "ann"},
		},
		URL:     "https://api.example.org",
		Version: "1.2.3",
		JobWait: time.Minute,
		Log:     slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// foreigner is a broker that anybody could have written: it does what every broker does, and no more.
type foreigner struct {
	backstay.Broker
	offering string // its name; empty: none
}

// foreign is a broker that can be registered at that address.
func foreign(url, offering string) markettest.Seller {
	return markettest.Seller{
		ServiceBroker: backstay.ServiceBroker{URL: url}, Broker: foreigner{brokertest.NewMemory(), offering},
	}
}

func (f foreigner) Catalog(ctx context.Context) ([]backstay.CatalogOffering, error) {
	offerings, err := f.Broker.Catalog(ctx)
	if f.offering == "" {
		offerings = nil
	}
	for i := range offerings {
		offerings[i].Name, offerings[i].Description = f.offering, f.offering+" from elsewhere"
	}
	return offerings, err
}

// people are who has which token.
type people map[string]backstay.Actor

func (p people) Authenticate(_ context.Context, header string) (backstay.Actor, error) {
	by, ok := p[header]
	if !ok {
		return by, backstay.Errorf(backstay.Anonymous, "Invalid Auth Token")
	}
	return by, nil
}

// moody is a broker that can be held up, or made to fail.
type moody struct {
	*brokertest.Memory
	mu      sync.Mutex
	held    chan struct{} // closed when it goes on
	failure error
}

func (b *moody) set(failure error, hold bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failure = failure
	if b.held != nil {
		close(b.held)
		b.held = nil
	}
	if hold {
		b.held = make(chan struct{})
	}
}

func (b *moody) mood(ctx context.Context) error {
	b.mu.Lock()
	held := b.held
	b.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failure
}

func (b *moody) Provision(ctx context.Context, r backstay.ProvisionRequest) (backstay.Provisioned, error) {
	if err := b.mood(ctx); err != nil {
		return backstay.Provisioned{}, err
	}
	return b.Memory.Provision(ctx, r)
}

func (b *moody) Update(ctx context.Context, r backstay.UpdateRequest) (backstay.Updated, error) {
	if err := b.mood(ctx); err != nil {
		return backstay.Updated{}, err
	}
	return b.Memory.Update(ctx, r)
}

func (b *moody) Deprovision(ctx context.Context, r backstay.DeprovisionRequest) (backstay.Deprovisioned, error) {
	if err := b.mood(ctx); err != nil {
		return backstay.Deprovisioned{}, err
	}
	return b.Memory.Deprovision(ctx, r)
}

func (b *moody) Bind(ctx context.Context, r backstay.BindRequest) (backstay.Bound, error) {
	if err := b.mood(ctx); err != nil {
		return backstay.Bound{}, err
	}
	return b.Memory.Bind(ctx, r)
}

func (b *moody) Unbind(ctx context.Context, r backstay.UnbindRequest) (backstay.Unbound, error) {
	if err := b.mood(ctx); err != nil {
		return backstay.Unbound{}, err
	}
	return b.Memory.Unbind(ctx, r)
}

// play goes through the script's requests and returns it with the answers that were given.
func (s *stage) play(script *txtar.Archive) *txtar.Archive {
	played := &txtar.Archive{Comment: script.Comment}
	for _, f := range script.Files {
		words := strings.Fields(f.Name)
		if _, isStatus := status(words[0]); isStatus {
			continue
		}
		played.Files = append(played.Files, f)
		switch words[0] {
		case "AWAIT":
			s.await(words[1])
		case "HOLD":
			s.server.JobWait = time.Millisecond
			s.broker.set(nil, true)
		case "UPDATEABLE":
			s.broker.Updateable = true
			s.keepCatalog()
		case "RELEASE":
			s.broker.Release(words[1])
			s.keepCatalog()
		case "WINDOW":
			s.openWindow(backstay.InstanceID(s.fill("<" + words[1] + ">")))
		case "GO":
			s.server.JobWait = time.Minute
			s.broker.set(nil, false)
		case "FAIL":
			s.broker.set(backstay.Errorf(backstay.Unavailable, "%s", bytes.TrimSpace(f.Data)), false)
		default:
			played.Files = append(played.Files, s.ask(words, s.fill(string(f.Data))))
		}
	}
	return played
}

func (s *stage) keepCatalog() {
	if err := s.server.Market.KeepCatalog(s.t.Context(), markettest.Broker); err != nil {
		s.t.Fatal(err)
	}
}

// openWindow returns when the market has heard of what was changed.
func (s *stage) openWindow(id backstay.InstanceID) {
	s.broker.OpenWindow(id)
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if err := wait.Until(ctx, wait.Every(5*time.Millisecond), func() (again bool, err error) {
		in, err := s.server.Market.Instance(ctx, markettest.Admin, id)
		return err == nil && in.Pending, err
	}); err != nil {
		s.t.Fatal(err)
	}
}

func status(word string) (code int, ok bool) {
	_, err := fmt.Sscanf(word, "%d", &code)
	return code, err == nil
}

func (s *stage) await(name string) {
	job := backstay.JobID(s.fill("<" + name + ">"))
	j, err := s.server.Market.AwaitJob(s.t.Context(), job, time.Minute)
	if err != nil || j.State != backstay.JobComplete && j.State != backstay.JobFailed {
		s.t.Fatalf("job %s is %s, %v", name, j.State, err)
	}
}

// ask sends METHOD PATH [by WHO] [as NAME] [from CLIENT].
func (s *stage) ask(words []string, body string) txtar.File {
	r := httptest.NewRequest(words[0], s.fill(words[1]), strings.NewReader(body))
	r.Header.Set("Authorization", "bearer admin")
	as := ""
	for i := 2; i+1 < len(words); i += 2 {
		switch words[i] {
		case "as":
			as = words[i+1]
		case "from":
			r.Header.Set("User-Agent", words[i+1])
		case "by":
			r.Header.Set("Authorization", "bearer "+words[i+1])
			if words[i+1] == "nobody" {
				r.Header.Del("Authorization")
			}
		}
	}
	w := httptest.NewRecorder()
	s.server.Handler().ServeHTTP(w, r)
	if w.Header().Get(requestIDHeader) == "" {
		s.t.Errorf("%s: no request id", words)
	}
	if as != "" {
		s.name(as, w)
	}
	return txtar.File{Name: fmt.Sprint(w.Code), Data: []byte(s.scrub(shown(s.t, w)))}
}

// name remembers what the answer is about: its own guid, that of the first of a list, or the job's.
func (s *stage) name(as string, w *httptest.ResponseRecorder) {
	var about struct {
		GUID      string
		Resources []struct{ GUID string }
	}
	json.Unmarshal(w.Body.Bytes(), &about)
	guid := about.GUID
	if len(about.Resources) > 0 {
		guid = about.Resources[0].GUID
	}
	if location := w.Header().Get("Location"); location != "" {
		guid = guids.FindString(location)
	}
	if guid == "" {
		s.t.Fatalf("nothing to name %s in %d %s", as, w.Code, w.Body)
	}
	maps.DeleteFunc(s.names, func(_, name string) bool { return name == as })
	s.names[guid] = as
}

func shown(t *testing.T, w *httptest.ResponseRecorder) string {
	var out bytes.Buffer
	if location := w.Header().Get("Location"); location != "" {
		fmt.Fprintf(&out, "Location: %s\n", location)
	}
	if w.Body.Len() > 0 {
		if err := json.Indent(&out, bytes.TrimSpace(w.Body.Bytes()), "", "  "); err != nil {
			t.Errorf("the answer is not JSON: %v: %s", err, w.Body)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

var (
	guids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	times = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	users = regexp.MustCompile(`u[0-9a-f]{8}\b`) // as brokertest.Memory names them
	holes = regexp.MustCompile(`<[\w-]+>`)
	notes = regexp.MustCompile(`(?m)^#.*\n`)
)

func (s *stage) scrub(text string) string {
	text = users.ReplaceAllString(times.ReplaceAllString(text, "<time>"), "<user>")
	return guids.ReplaceAllStringFunc(text, func(guid string) string {
		if name, ok := s.names[guid]; ok {
			return "<" + name + ">"
		}
		return "<guid>"
	})
}

func (s *stage) fill(text string) string {
	return holes.ReplaceAllStringFunc(notes.ReplaceAllString(text, ""), func(hole string) string {
		for guid, name := range s.names {
			if "<"+name+">" == hole {
				return guid
			}
		}
		s.t.Fatalf("%s was not named before", hole)
		return ""
	})
}

// TestEveryRouteIsPlayed keeps a route from being added without showing what it answers.
func TestEveryRouteIsPlayed(t *testing.T) {
	t.Parallel()
	mux, played := http.NewServeMux(), map[string]bool{}
	for _, rt := range (&Server{}).routes() {
		mux.Handle(rt.pattern, http.NotFoundHandler())
	}
	for _, file := range conversations(t) {
		script, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range script.Files {
			if words := strings.Fields(f.Name); len(words) > 1 && strings.HasPrefix(words[1], "/") {
				_, pattern := mux.Handler(httptest.NewRequest(words[0], words[1], nil))
				played[pattern] = true
			}
		}
	}
	for _, rt := range (&Server{}).routes() {
		if !played[rt.pattern] {
			t.Errorf("%s is in no conversation of testdata", rt.pattern)
		}
	}
}
