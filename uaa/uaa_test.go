package uaa_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/state"
	"github.com/backstay/backstay/uaa"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// house is a login server on a database of its own, with a clock that stands still.
type house struct {
	testing.TB
	*uaa.Server
	dsn      string
	store    *state.Store
	handler  http.Handler
	password string // of admin
	log      strings.Builder

	mu  sync.Mutex
	now time.Time
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{TB: t, dsn: testkit.Postgres(t), now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	var err error
	if h.store, err = state.Open(t.Context(), h.dsn, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.store.Close)
	h.Server = h.newServer(&h.log)
	h.handler = h.Handler()
	if h.password, _, err = h.EnsureAdmin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// newServer is another server on the same store.
func (h *house) newServer(log *strings.Builder) *uaa.Server {
	return &uaa.Server{
		Store: h.store, Key: seal.Key{1}, Issuer: "https://api.example.org", Now: h.clock,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// exec changes the database behind the server's back.
func (h *house) exec(sql string) {
	h.Helper()
	conn, err := pgx.Connect(h.Context(), h.dsn)
	if err != nil {
		h.Fatal(err)
	}
	defer conn.Close(h.Context())
	if _, err := conn.Exec(h.Context(), sql); err != nil {
		h.Fatal(err)
	}
}

// reply is every field of every answer.
type reply struct {
	status int
	header http.Header

	Access      string `json:"access_token"`
	Refresh     string `json:"refresh_token"`
	Type        string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Scope       string `json:"scope"`
	ID          string `json:"jti"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (h *house) do(r *http.Request) reply {
	h.Helper()
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	a := reply{status: w.Code, header: w.Header()}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		h.Fatalf("%s %s answered %d %q: %v", r.Method, r.URL, w.Code, w.Body, err)
	}
	return a
}

// tokenRequest is as the cf command sends it.
func tokenRequest(form ...string) *http.Request {
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("cf", "")
	return r
}

func (h *house) tryFrom(address, username, password string) reply {
	h.Helper()
	r := tokenRequest("grant_type", "password", "username", username, "password", password)
	r.RemoteAddr = address
	return h.do(r)
}

func (h *house) try(username, password string) reply {
	h.Helper()
	return h.tryFrom("127.0.0.1:40000", username, password)
}

func (h *house) logIn() reply {
	h.Helper()
	a := h.try("admin", h.password)
	if a.status != http.StatusOK {
		h.Fatalf("login answered %d %s: %s", a.status, a.Error, a.Description)
	}
	return a
}

func (h *house) refresh(token string) reply {
	h.Helper()
	return h.do(tokenRequest("grant_type", "refresh_token", "refresh_token", token))
}

func (h *house) revoke(id, access string) reply {
	h.Helper()
	r := httptest.NewRequest("DELETE", "/oauth/token/revoke/"+id, nil)
	r.Header.Set("Authorization", "bearer "+access)
	return h.do(r)
}

func (h *house) wantError(a reply, status int, code, description string) {
	h.Helper()
	if a.status != status || a.Error != code || !strings.Contains(a.Description, description) {
		h.Errorf("answered %d %s %q, want %d %s %q", a.status, a.Error, a.Description, status, code, description)
	}
}

func (h *house) wantKnown(access string) {
	h.Helper()
	by, err := h.Authenticate(h.Context(), "bearer "+access)
	if err != nil || by.Username != "admin" || by.Role != backstay.Administrator ||
		uuid.Validate(string(by.UserID)) != nil {
		h.Errorf("actor %+v (%v), want admin", by, err)
	}
}

func (h *house) wantUnknown(authorization, sentence string) {
	h.Helper()
	by, err := h.Authenticate(h.Context(), authorization)
	if backstay.KindOf(err) != backstay.Anonymous || backstay.SentenceOf(err) != sentence || by != (backstay.Actor{}) {
		h.Errorf("%.60q: %+v (%v), want %q", authorization, by, err, sentence)
	}
}
