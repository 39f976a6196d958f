package uaa_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/uaa"
)

const (
	badCredentials = "Bad credentials"
	locked         = "Your account has been locked because of too many failed attempts to login."
)

// operator is who acts on the server's machine.
var operator = backstay.Actor{Username: "operator"}

func TestShowLogin(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	server := &uaa.Server{Issuer: "https://api.example.org"}
	server.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/login", nil))
	info := httptest.NewRecorder()
	server.Handler().ServeHTTP(info, httptest.NewRequest("GET", "/info", nil))
	if info.Body.String() != w.Body.String() {
		t.Errorf("info is %s", info.Body)
	}
	want := `{"app":{"version":"77.0.0"},"links":{"login":"https://api.example.org","uaa":"https://api.example.org"},` +
		`"prompts":{"password":["password","Password"],"username":["text","Email"]},"zone_name":"uaa"}`
	if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusOK || got != want {
		t.Errorf("answered %d %s, want %s", w.Code, got, want)
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.logIn()
	if a.Type != "bearer" || a.ExpiresIn != 600 || a.ID == "" || !strings.Contains(a.Scope, "cloud_controller.admin") {
		t.Errorf("answered %+v", a)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Error("tokens may be cached")
	}
	h.wantKnown(a.Access)
	h.wantError(h.do(tokenRequest("grant_type", "password", "passcode", "a1b2c3")), 401, "unauthorized",
		"Invalid passcode")
	if a := h.try("ADMIN", h.password); a.status != http.StatusOK {
		t.Errorf("a username in capitals: %d", a.status)
	}
	hint := tokenRequest("grant_type", "password", "username", "admin", "password", h.password)
	hint.URL.RawQuery = url.Values{"login_hint": {`{"origin":"uaa"}`}}.Encode()
	if a := h.do(hint); a.status != http.StatusOK {
		t.Errorf("with --origin uaa: %d %s", a.status, a.Description)
	}
	hint = tokenRequest("grant_type", "password", "username", "admin", "password", h.password)
	hint.URL.RawQuery = url.Values{"login_hint": {`{"origin":"ldap"}`}}.Encode()
	h.wantError(h.do(hint), 401, "unauthorized", "the only origin is uaa")
	if strings.Contains(h.log.String(), h.password) || strings.Contains(h.log.String(), a.Access) {
		t.Error("a secret was logged")
	}
}

func TestWrongWaysIn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for name, username := range map[string]string{
		"wrong password": "admin", "unknown": "mallory", "empty": "", "not text": "ad\x00min", "no UTF-8": "\xff", "too long": strings.Repeat("x", 5000),
	} {
		t.Run(name, func(t *testing.T) { h.wantError(h.try(username, "hunter2"), 401, "unauthorized", badCredentials) })
	}
	if strings.Contains(h.log.String(), "hunter2") || strings.Contains(h.log.String(), "mallory") {
		t.Errorf("what was typed is in the log: %s", &h.log)
	}
	form := func(change func(*http.Request)) *http.Request {
		r := tokenRequest("grant_type", "password", "username", "admin", "password", h.password)
		change(r)
		return r
	}
	for name, tc := range map[string]struct {
		request           *http.Request
		status            int
		code, description string
	}{
		"no client":             {form(func(r *http.Request) { r.Header.Del("Authorization") }), 401, "invalid_client", "the only client that acts for users is cf"},
		"another client":        {form(func(r *http.Request) { r.SetBasicAuth("ssh-proxy", "") }), 401, "invalid_client", "the only client that acts for users is cf"},
		"a client's secret":     {form(func(r *http.Request) { r.SetBasicAuth("cf", "x") }), 401, "invalid_client", "the only client that acts for users is cf"},
		"the client cf for cf":  {tokenRequest("grant_type", "client_credentials"), 401, "unauthorized", badCredentials},
		"jwt-bearer":            {tokenRequest("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), 400, "unsupported_grant_type", "password, refresh_token or client_credentials"},
		"no grant":              {tokenRequest(), 400, "invalid_request", "Missing grant type"},
		"password in the query": {form(func(r *http.Request) { r.URL.RawQuery = "username=admin&password=" + h.password; r.Body = http.NoBody }), 400, "invalid_request", "Missing grant type"},
		"no form":               {form(func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }), 400, "invalid_request", "Missing grant type"},
		"a broken form":         {form(func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("grant_type=%zz")) }), 400, "invalid_request", "must be a form"},
		"too large":             {tokenRequest("grant_type", "password", "username", "admin", "password", strings.Repeat("x", 17<<10)), 413, "invalid_request", "16KB"},
		"unknown":               {httptest.NewRequest("GET", "/oauth/authorize", nil), 404, "not_found", ""},
		"wrong method":          {httptest.NewRequest("GET", "/oauth/token", nil), 404, "not_found", ""},
	} {
		t.Run(name, func(t *testing.T) { h.wantError(h.do(tc.request), tc.status, tc.code, tc.description) })
	}
}

func TestGuessingIsSlowed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	fail := func(n int) {
		t.Helper()
		for range n {
			h.wantError(h.try("admin", "hunter2"), 401, "unauthorized", badCredentials)
		}
	}
	fail(4)
	h.logIn() // forgives
	fail(5)
	a := h.try("admin", h.password)
	h.wantError(a, 401, "unauthorized", locked)
	if got := a.header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After is %q", got)
	}
	for _, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		h.pass(wait - time.Millisecond)
		h.wantError(h.try("admin", "hunter2"), 401, "unauthorized", locked)
		h.pass(time.Millisecond)
		fail(1)
	}
	if a := h.tryFrom("192.0.2.1:1", "Admin", h.password); a.status != http.StatusOK {
		t.Errorf("one address locked out another: %d %s", a.status, a.Description)
	}
	h.wantError(h.try("ADMIN", h.password), 401, "unauthorized", locked)
	h.pass(8 * time.Second)
	h.logIn()
	fail(4)
}

func TestGuessingOfUnknownUsersLooksTheSame(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 7 {
		known, unknown := h.try("admin", "hunter2"), h.try([]string{"Eve", "eve"}[i%2], "hunter2")
		if known.Description != unknown.Description {
			t.Errorf("try %d: %q for a user, %q for nobody", i, known.Description, unknown.Description)
		}
		if i >= 5 {
			h.wantError(known, 401, "unauthorized", locked)
		}
	}
}

func TestGuessingAtOnceGainsLittle(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	heard := make(chan bool, 24)
	var all sync.WaitGroup
	for range cap(heard) {
		all.Go(func() { heard <- h.try("admin", "hunter2").Description == badCredentials })
	}
	all.Wait()
	close(heard)
	n := 0
	for h := range heard {
		if h {
			n++
		}
	}
	if n < 5 || n > 6 { // as many as are hashed at once may pass a limit together
		t.Errorf("%d tries at once were heard, want 5 or 6", n)
	}
}

func TestWaitsAreBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 30 {
		h.pass(5 * time.Minute)
		h.wantError(h.try("admin", "hunter2"), 401, "unauthorized", badCredentials)
	}
	h.pass(time.Hour + time.Second)
	for range 5 {
		h.wantError(h.try("admin", "hunter2"), 401, "unauthorized", badCredentials)
	}
	h.wantError(h.try("admin", "hunter2"), 401, "unauthorized", locked)
}

func TestManyAddressesForOneUser(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 50 {
		h.wantError(h.tryFrom(fmt.Sprintf("192.0.2.%d:1", i/4), "admin", "hunter2"), 401, "unauthorized", badCredentials)
	}
	h.wantError(h.tryFrom("198.51.100.1:1", "admin", h.password), 401, "unauthorized", locked)
}

func TestManyUsersFromOneAddress(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a hundred passwords are hashed")
	}
	h := newHouse(t)
	for i := range 100 { // one subscriber has many addresses in one IPv6 network
		h.wantError(h.tryFrom(fmt.Sprintf("[2001:db8::%x]:1", i), fmt.Sprint("user", i), "hunter2"), 401, "unauthorized",
			badCredentials)
	}
	h.wantError(h.tryFrom("[2001:db8::ffff]:1", "admin", h.password), 401, "unauthorized", locked)
	if a := h.tryFrom("[2001:db8:0:1::1]:1", "admin", h.password); a.status != http.StatusOK {
		t.Errorf("the network beside it: %d %s", a.status, a.Description)
	}
}

func TestCheapHashesAreReplaced(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const password = "correct horse"
	salt := []byte("sixteen bytes ok")
	encode := base64.RawStdEncoding.EncodeToString
	cheap := fmt.Sprintf("$argon2id$v=19$m=64,t=1,p=2$%s$%s", encode(salt),
		encode(argon2.IDKey([]byte(password), salt, 1, 64, 2, 32)))
	if err := h.store.AddUser(t.Context(), uaa.User{ID: "1", Username: "ada", PasswordHash: cheap, PasswordVersion: 1},
		backstay.Event{}); err != nil {
		t.Fatal(err)
	}
	h.wantError(h.try("ada", "wrong"), 401, "unauthorized", badCredentials)
	first := h.try("ada", password)
	if strings.Contains(first.Scope, "admin") {
		t.Errorf("ada has the scope %q", first.Scope)
	}
	u, err := h.store.UserNamed(t.Context(), "ada")
	if err != nil || !strings.HasPrefix(u.PasswordHash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash is %s (%v)", u.PasswordHash, err)
	}
	if a := h.try("ada", password); a.status != http.StatusOK {
		t.Errorf("with the new hash: %d %s", a.status, a.Description)
	}
	if a := h.refresh(first.Refresh); a.status != http.StatusOK {
		t.Errorf("the session before it: %d %s", a.status, a.Description)
	}
}

func TestEnsureAdmin(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if len(h.password) < 24 || strings.Trim(h.password, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		t.Errorf("password of %d characters, or not letters and digits alone", len(h.password))
	}
	if password, created, err := h.EnsureAdmin(t.Context()); password != "" || created || err != nil {
		t.Errorf("a second start: password of %d characters, created %t (%v)", len(password), created, err)
	}
	u, err := h.store.UserNamed(t.Context(), "admin")
	if err != nil || strings.Contains(u.PasswordHash, h.password) || !strings.HasPrefix(u.PasswordHash, "$argon2id$") {
		t.Errorf("the password is kept as %q (%v)", u.PasswordHash, err)
	}
}

func TestResetPassword(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	old := h.logIn()
	password, err := h.ResetPassword(t.Context(), operator, "admin")
	if err != nil || password == h.password || len(password) < 24 {
		t.Fatalf("a password of %d characters (%v)", len(password), err)
	}
	h.wantError(h.try("admin", h.password), 401, "unauthorized", badCredentials)
	h.wantError(h.refresh(old.Refresh), 401, "invalid_token", "")
	h.wantUnknown("bearer "+old.Access, "Invalid Auth Token")
	h.password = password
	h.wantKnown(h.logIn().Access)
	if _, err := h.ResetPassword(t.Context(), operator, "eve"); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("a user who does not exist: %v", err)
	}
}

func TestStoreIsDown(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.logIn()
	h.store.Close()
	h.wantError(h.try("admin", h.password), 500, "server_error", "unknown error")
	if _, err := h.Authenticate(context.Background(), "bearer "+a.Access); backstay.KindOf(err) != backstay.Internal ||
		err == nil {
		t.Errorf("a known token: %v", err)
	}
	if !strings.Contains(h.log.String(), "path=/oauth/token") {
		t.Errorf("the log says %s", &h.log)
	}
}
