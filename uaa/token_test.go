package uaa_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/uaa"
)

const invalid = "Invalid Auth Token"

// said returns a part of a token: 0 its header, 1 its claims.
func said(t testing.TB, token string, part int) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[part])
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestClaims(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.logIn()
	c := said(t, a.Access, 1)
	id, ok := c["user_id"].(string)
	if !ok || c["sub"] != id || uuid.Validate(id) != nil {
		t.Errorf("user_id %v, sub %v", c["user_id"], c["sub"])
	}
	for claim, want := range map[string]any{
		"jti": a.ID, "user_name": "admin", "origin": "uaa", "email": "admin", "client_id": "cf", "cid": "cf", "azp": "cf", "zid": "uaa",
		"grant_type": "password", "iss": "https://api.example.org/oauth/token", "revocable": true,
		"iat": float64(h.now.Unix()), "exp": float64(h.now.Add(10 * time.Minute).Unix()),
	} {
		if c[claim] != want {
			t.Errorf("%s is %v, want %v", claim, c[claim], want)
		}
	}
	if head := said(t, a.Access, 0); head["alg"] != "RS256" || head["kid"] != "key-1" {
		t.Errorf("header %v", head)
	}
	if again := h.logIn(); again.ID == a.ID || again.Refresh == a.Refresh {
		t.Error("two logins have a token in common")
	}
}

func TestAuthorizationHeaders(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	token := h.logIn().Access
	for _, header := range []string{"bearer " + token, "Bearer " + token, "BEARER  " + token, " bearer " + token + " "} {
		if by, err := h.Authenticate(t.Context(), header); err != nil || by.Username != "admin" {
			t.Errorf("%.20q: %+v (%v)", header, by, err)
		}
	}
	h.wantUnknown("", "Authentication error")
	h.wantUnknown("  ", "Authentication error")
	for _, header := range []string{
		"bearer", "bearer ", token, "basic " + token, "bearer" + token, "bearer a.b.c", "bearer ..", "bearer x",
		"bearer " + token + " x", "bearer " + token + ".x", "bearer bearer " + token, "bearer " + token[:len(token)-1],
		"bearer " + strings.Repeat("x", 1<<16),
	} {
		h.wantUnknown(header, invalid)
	}
}

func TestForgedTokens(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	token := h.logIn().Access
	h.wantKnown(token)
	public := h.tokenKeys()[0]
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	genuine := jwt.MapClaims(said(t, token, 1))
	changed := maps.Clone(genuine)
	changed["user_id"], changed["sub"] = uuid.NewString(), uuid.NewString()
	forge := func(method jwt.SigningMethod, key any, kid any, c jwt.MapClaims) string {
		f := jwt.NewWithClaims(method, c)
		f.Header["kid"] = kid
		signed, err := f.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	head, body, signature := cut3(token)
	_, otherBody, _ := cut3(forge(jwt.SigningMethodRS256, other, "key-1", changed))
	otherHead, _, _ := cut3(forge(jwt.SigningMethodRS512, other, "key-1", genuine))
	for name, forged := range map[string]string{
		"alg none":                       forge(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "key-1", genuine),
		"HS256 with the public key":      forge(jwt.SigningMethodHS256, []byte(public.Value), "key-1", genuine),
		"HS256 with nothing":             forge(jwt.SigningMethodHS256, []byte{}, "key-1", genuine),
		"another key":                    forge(jwt.SigningMethodRS256, other, "key-1", genuine),
		"another key of its own name":    forge(jwt.SigningMethodRS256, other, "key-2", genuine),
		"no name of a key":               forge(jwt.SigningMethodRS256, other, nil, genuine),
		"a number for the key's name":    forge(jwt.SigningMethodRS256, other, 1, genuine),
		"RS512 with another key":         forge(jwt.SigningMethodRS512, other, "key-1", genuine),
		"PS256 with another key":         forge(jwt.SigningMethodPS256, other, "key-1", genuine),
		"changed claims, old signature":  head + "." + otherBody + "." + signature,
		"changed header, old signature":  otherHead + "." + body + "." + signature,
		"no signature":                   head + "." + body + ".",
		"alg none, cut":                  base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + body + ".",
		"alg None":                       base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"None","kid":"key-1"}`)) + "." + body + "." + signature,
		"the refresh token":              h.logIn().Refresh,
		"bits that do not count changed": token[:len(token)-1] + string(token[len(token)-1]+1),
	} {
		t.Run(name, func(t *testing.T) { h.wantUnknown("bearer "+forged, invalid) })
	}
	h.wantKnown(token)
}

func cut3(token string) (a, b, c string) {
	a, rest, _ := strings.Cut(token, ".")
	b, c, _ = strings.Cut(rest, ".")
	return a, b, c
}

// TestGenuineSignatureIsNotEnough signs with the server's own key what the server never said.
func TestGenuineSignatureIsNotEnough(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	genuine := jwt.MapClaims(said(t, h.logIn().Access, 1))
	kept, err := h.store.SigningKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plain, err := h.Key.Open(kept[0].Sealed, "uaa/key/1")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS1PrivateKey(plain)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(claim string, value any) string {
		c := maps.Clone(genuine)
		if c[claim] = value; value == nil {
			delete(c, claim)
		}
		f := jwt.NewWithClaims(jwt.SigningMethodRS256, c)
		f.Header["kid"] = "key-1"
		signed, err := f.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	h.wantKnown(sign("email", "x"))
	for _, tc := range []struct {
		claim string
		value any
	}{
		{"iss", "https://evil.example.org/oauth/token"}, {"iss", nil}, {"aud", []string{"cf"}}, {"aud", nil}, {"exp", nil},
		{"exp", h.now.Unix()}, {"nbf", h.now.Add(time.Minute).Unix()}, {"user_id", "nobody"}, {"user_id", nil}, {"rev_sig", 2}, {"rev_sig", nil},
	} {
		h.wantUnknown("bearer "+sign(tc.claim, tc.value), invalid)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.logIn()
	h.pass(10*time.Minute - time.Second)
	h.wantKnown(a.Access)
	h.pass(time.Second)
	h.wantUnknown("bearer "+a.Access, invalid)
	again := h.refresh(a.Refresh)
	if again.status != http.StatusOK || again.Type != "bearer" || again.Refresh != a.Refresh || again.ExpiresIn != 600 ||
		again.Scope != a.Scope ||
		again.ID == a.ID {
		t.Errorf("refreshed to %+v", again)
	}
	h.wantKnown(again.Access)
	if grant := said(t, again.Access, 1)["grant_type"]; grant != "refresh_token" {
		t.Errorf("grant_type is %v", grant)
	}
	h.pass(30*24*time.Hour - 10*time.Minute)
	h.wantError(h.refresh(a.Refresh), 401, "invalid_token", "expired")
	h.wantError(h.refresh(""), 401, "invalid_token", "expired")
	h.wantError(h.refresh("\x00\xff"), 401, "invalid_token", "expired")
}

// TestLogout asks what "cf logout" asks, in its order.
func TestLogout(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, stays := h.logIn(), h.logIn()
	id, ok := said(t, a.Refresh, 1)["jti"].(string)
	if !ok {
		t.Fatal("the refresh token has no jti")
	}
	if r := h.revoke(id, a.Access); r.status != http.StatusOK {
		t.Errorf("refresh token: %d %s", r.status, r.Description)
	}
	if r := h.revoke(a.ID, a.Access); r.status != http.StatusOK {
		t.Errorf("access token: %d %s", r.status, r.Description)
	}
	h.wantError(h.refresh(a.Refresh), 401, "invalid_token", "revoked")
	h.wantUnknown("bearer "+a.Access, invalid)
	h.wantError(h.revoke(a.ID, a.Access), 401, "invalid_token", invalid)
	h.wantKnown(stays.Access)
	if r := h.refresh(stays.Refresh); r.status != http.StatusOK {
		t.Errorf("the other session: %d %s", r.status, r.Description)
	}
	h.wantError(h.revoke("%00", stays.Access), 404, "not_found", "")
}

func TestOnlyOnesOwnTokensAreRevoked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	admin := h.logIn()
	u, err := h.store.UserNamed(t.Context(), "admin")
	if err != nil {
		t.Fatal(err)
	}
	u.ID, u.Username, u.Role = "1", "eve", ""
	if err := h.store.AddUser(t.Context(), u, backstay.Event{}); err != nil {
		t.Fatal(err)
	}
	eve := h.try("eve", h.password)
	h.revoke(admin.ID, eve.Access)
	h.revoke(said(t, admin.Refresh, 1)["jti"].(string), eve.Access)
	h.wantKnown(admin.Access)
	if r := h.refresh(admin.Refresh); r.status != http.StatusOK {
		t.Errorf("a user revoked the token of another: %d", r.status)
	}
	r := httptest.NewRequest("DELETE", "/oauth/token/revoke/"+admin.ID, nil)
	h.wantError(h.do(r), 401, "invalid_token", "Authentication error")
}

func TestUserIsGone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.logIn()
	h.exec("DELETE FROM uaa.users")
	h.wantUnknown("bearer "+a.Access, invalid)
	h.wantError(h.refresh(a.Refresh), 401, "invalid_token", "")
	h.wantError(h.try("admin", h.password), 401, "unauthorized", badCredentials)
}

// asked counts how often keys are asked for.
type asked struct {
	uaa.Store
	times int
}

func (a *asked) SigningKeys(ctx context.Context) ([]uaa.SealedKey, error) {
	a.times++
	return a.Store.SigningKeys(ctx)
}

// TestUnknownKeysCostNothing sends tokens that name keys that there are not.
func TestUnknownKeysCostNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	store := &asked{Store: h.store}
	h.Store = store
	good := h.logIn().Access
	head, rest, _ := strings.Cut(good, ".")
	header, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	for second := range 2 {
		store.times = 0
		for i := range 50 {
			forged := strings.Replace(string(header), "key-1", fmt.Sprint("key-", 100+i), 1)
			h.wantUnknown("bearer "+base64.RawURLEncoding.EncodeToString([]byte(forged))+"."+rest, invalid)
			h.wantKnown(good)
		}
		if store.times > 1 {
			t.Errorf("second %d: keys were asked for %d times; want at most once", second, store.times)
		}
		h.pass(time.Second)
	}
	if store.times == 0 {
		t.Error("after a pause nobody looked again")
	}
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	elsewhere := h.newServer(&strings.Builder{})
	first := h.logIn()
	h.pass(30*24*time.Hour - time.Minute)
	last := h.logIn()
	h.pass(time.Minute)
	next := h.logIn()
	for token, want := range map[string]string{first.Access: "key-1", last.Access: "key-1", next.Access: "key-2"} {
		if kid := said(t, token, 0)["kid"]; kid != want {
			t.Errorf("signed by %v, want %s", kid, want)
		}
	}
	for _, token := range []string{last.Access, next.Access} {
		h.wantKnown(token)
		if by, err := elsewhere.Authenticate(t.Context(), "bearer "+token); err != nil || by.Username != "admin" {
			t.Errorf("another server: %+v (%v)", by, err)
		}
	}
	if keys := h.tokenKeys(); len(keys) != 2 || keys[0].ID != "key-2" || keys[1].ID != "key-1" {
		t.Errorf("keys %+v, want the newer one first", keys)
	}
	h.pass(2 * time.Hour)
	if keys := h.tokenKeys(); len(keys) != 1 || keys[0].ID != "key-2" {
		t.Errorf("keys %+v, want the old one gone", keys)
	}
	h.logIn()
	if kept, err := h.store.SigningKeys(t.Context()); err != nil || len(kept) != 1 {
		t.Errorf("%d keys are kept (%v)", len(kept), err)
	}
}

// TestKeysAreRotatedOnDemand has another process make the next key, as an operator's command does.
func TestKeysAreRotatedOnDemand(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.logIn()
	if err := h.newServer(&strings.Builder{}).RotateKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.pass(10 * time.Second)
	next := h.logIn()
	for token, want := range map[string]string{first.Access: "key-1", next.Access: "key-2"} {
		if kid := said(t, token, 0)["kid"]; kid != want {
			t.Errorf("signed by %v, want %s", kid, want)
		}
		h.wantKnown(token)
	}
}

func TestServersAgreeOnTheKey(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	servers := make([]*uaa.Server, 4)
	tokens := make([]string, len(servers))
	var all sync.WaitGroup
	for i := range servers {
		servers[i] = h.newServer(&strings.Builder{})
		all.Go(func() {
			w := httptest.NewRecorder()
			servers[i].Handler().
				ServeHTTP(w, tokenRequest("grant_type", "password", "username", "admin", "password", h.password))
			var a reply
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK {
				t.Errorf("server %d answered %d (%v)", i, w.Code, err)
			}
			tokens[i] = a.Access
		})
	}
	all.Wait()
	for i, s := range servers {
		for j, token := range tokens {
			if _, err := s.Authenticate(t.Context(), "bearer "+token); err != nil {
				t.Errorf("server %d does not believe server %d: %v", i, j, err)
			}
		}
	}
	if kept, err := h.store.SigningKeys(t.Context()); err != nil || len(kept) != 1 {
		t.Errorf("%d keys are kept (%v), want 1", len(kept), err)
	}
}

type tokenKey struct {
	ID    string `json:"kid"`
	Type  string `json:"kty"`
	Alg   string `json:"alg"`
	Value string `json:"value"`
	N     string `json:"n"`
	E     string `json:"e"`
}

func (h *house) get(path string, into any) int {
	h.Helper()
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		h.Fatal(err)
	}
	if strings.Contains(w.Body.String(), "PRIVATE") || strings.Contains(w.Body.String(), `"d"`) {
		h.Error("a private key is shown")
	}
	return w.Code
}

func (h *house) tokenKeys() []tokenKey {
	h.Helper()
	var list struct {
		Keys []tokenKey `json:"keys"`
	}
	if status := h.get("/token_keys", &list); status != http.StatusOK {
		h.Errorf("/token_keys answered %d", status)
	}
	return list.Keys
}

// TestPublicKeys verifies a token with what others can know.
func TestPublicKeys(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if keys := h.tokenKeys(); len(keys) != 0 {
		t.Errorf("before the first login there are keys: %+v", keys)
	}
	var none reply
	if status := h.get("/token_key", &none); status != http.StatusNotFound || none.Error != "not_found" {
		t.Errorf("/token_key answered %d %s", status, none.Error)
	}
	token := h.logIn().Access
	var key tokenKey
	if status := h.get("/token_key",
		&key); status != http.StatusOK || key != h.tokenKeys()[0] || key.Type != "RSA" || key.Alg != "RS256" ||
		key.E != "AQAB" {
		t.Errorf("/token_key answered %d %+v", status, key)
	}
	block, _ := pem.Decode([]byte(key.Value))
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := base64.RawURLEncoding.DecodeString(key.N); err != nil ||
		public.(*rsa.PublicKey).N.Cmp(new(big.Int).SetBytes(n)) != 0 {
		t.Errorf("modulus and PEM are not the same key (%v)", err)
	}
	_, err = jwt.Parse(token, func(*jwt.Token) (any, error) { return public, nil }, jwt.WithTimeFunc(h.clock),
		jwt.WithValidMethods([]string{"RS256"}))
	if err != nil {
		t.Error(err)
	}
}

// BenchmarkAuthenticate has the query, which is most of it, by itself as its baseline.
func BenchmarkAuthenticate(b *testing.B) {
	h := newHouse(b)
	a := h.logIn()
	by, err := h.Authenticate(b.Context(), "bearer "+a.Access)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("query", func(b *testing.B) {
		for b.Loop() {
			if _, err := h.store.Actor(b.Context(), by.UserID, 1, a.ID); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("whole", func(b *testing.B) {
		for b.Loop() {
			if _, err := h.Authenticate(b.Context(), "bearer "+a.Access); err != nil {
				b.Fatal(err)
			}
		}
	})
}
