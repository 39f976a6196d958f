package uaa_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
)

// ask sends a request about users as whom the access token is of, and decodes a good answer into v.
func (h *house) ask(access, method, path, body string, v any) reply {
	h.Helper()
	return h.askWith(http.Header{}, access, method, path, body, v)
}

// askWith is ask with headers of its own.
func (h *house) askWith(header http.Header, access, method, path, body string, v any) reply {
	h.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header = header
	r.RemoteAddr = "127.0.0.1:40000"
	if access != "" {
		r.Header.Set("Authorization", "bearer "+access)
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	a := reply{status: w.Code, header: w.Header()}
	var into any = &a
	if v != nil && w.Code < http.StatusBadRequest {
		into = v
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		h.Fatalf("%s %s answered %d %q: %v", method, path, w.Code, w.Body, err)
	}
	return a
}

type foundUser struct {
	ID       string `json:"id"`
	Username string `json:"userName"`
	Origin   string `json:"origin"`
}

const password = "correct horse"

// newUser asks as the cf command does.
func newUser(username, password, origin string) string {
	return fmt.Sprintf(
		`{"userName":%q,"password":%q,"origin":%q,"name":{"familyName":%[1]q,"givenName":%[1]q},"emails":[{"value":%[1]q,"primary":true}]}`,
		username, password, origin,
	)
}

func (h *house) createUser(username string) foundUser {
	h.Helper()
	var u foundUser
	if a := h.ask(h.logIn().Access, "POST", "/Users", newUser(username, password, ""),
		&u); a.status != http.StatusCreated {
		h.Fatalf("create %s: %d %s", username, a.status, a.Description)
	}
	return u
}

func (h *house) createClient(id string) {
	h.Helper()
	if _, err := h.CreateClient(h.Context(), operator, id, "", password); err != nil {
		h.Fatal(err)
	}
}

func (h *house) findUsers(access, filter string) []foundUser {
	h.Helper()
	var l struct {
		Resources []foundUser `json:"resources"`
		Total     int         `json:"totalResults"`
	}
	a := h.ask(access, "GET", "/Users?"+url.Values{"filter": {filter}}.Encode(), "", &l)
	if a.status != http.StatusOK || l.Total != len(l.Resources) || l.Resources == nil {
		h.Errorf("%s answered %d %s %+v", filter, a.status, a.Description, l)
	}
	return l.Resources
}

func TestUsers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada := h.createUser("Ada@example.org")
	if ada.Username != "Ada@example.org" || ada.Origin != "uaa" || ada.ID == "" {
		t.Errorf("created %+v", ada)
	}
	admin := h.logIn().Access
	for _, filter := range []string{`userName eq "Ada@example.org"`, `userName eq "ada@EXAMPLE.org" and origin eq "uaa"`} {
		if got := h.findUsers(admin, filter); !slices.Equal(got, []foundUser{ada}) {
			t.Errorf("%s finds %+v", filter, got)
		}
	}
	h.createClient("robot")
	for _, filter := range []string{`userName eq "ada"`, `userName eq "Ada@example.org" and origin eq "ldap"`, `userName eq ""`, `userName eq "robot"`} {
		if got := h.findUsers(admin, filter); len(got) != 0 {
			t.Errorf("%s finds %+v", filter, got)
		}
	}
	for _, filter := range []string{"", `userName eq "a" or userName eq "b"`, `id pr`, `userName co "a"`} {
		h.wantError(h.ask(admin, "GET", "/Users?"+url.Values{"filter": {filter}}.Encode(), "", nil), 400, "scim",
			"filter must be as in")
	}
	if a := h.try("ada@example.org", password); a.status != http.StatusOK || strings.Contains(a.Scope, "admin") {
		t.Errorf("ada logs in: %d %s, with %s", a.status, a.Description, a.Scope)
	}
}

// TestWhoAUserIs shows a user as a provider makes one, to the user and to who may see everybody.
func TestWhoAUserIs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	admin := h.logIn().Access
	const body = `{"userName": "Zoë", "password": "correct horse", "active": true, "verified": true,
		"schemas": ["urn:scim:schemas:core:1.0"], "name": {"givenName": "Zoë", "familyName": "Ångström"},
		"emails": [{"value": "z@example.org", "primary": true, "type": "work"}]}`
	var made map[string]any
	if a := h.ask(admin, "POST", "/Users", body, &made); a.status != http.StatusCreated {
		t.Fatalf("answered %d %s", a.status, a.Description)
	}
	own := h.try("ZOË", password).Access
	for _, access := range []string{admin, own} {
		var shown map[string]any
		h.ask(access, "GET", "/Users/"+made["id"].(string), "", &shown)
		if got := fmt.Sprint(shown); got != fmt.Sprint(made) {
			t.Errorf("shown %s, made %v", got, made)
		}
	}
	if fmt.Sprint(made["name"], made["emails"]) !=
		"map[familyName:Ångström givenName:Zoë] [map[primary:true value:z@example.org]]" {
		t.Errorf("made %v", made)
	}
	when := made["meta"].(map[string]any)
	for _, text := range []any{when["created"], when["lastModified"], made["passwordLastModified"]} {
		if at, err := time.Parse("2006-01-02T15:04:05.000Z", text.(string)); err != nil || time.Since(at) > time.Hour {
			t.Errorf("a time is %v (%v)", text, err)
		}
	}
	var info map[string]any
	h.ask(own, "GET", "/userinfo", "", &info)
	if info["email"] != "z@example.org" || info["name"] != "Zoë Ångström" || info["sub"] != made["id"] {
		t.Errorf("userinfo is %v", info)
	}
	if c := said(t, own, 1); c["email"] != "z@example.org" {
		t.Errorf("the token says %v", c)
	}
	h.wantError(h.ask(admin, "GET", "/Users/nobody", "", nil), 404, "scim_resource_not_found", "does not exist")
	two := strings.Replace(body, `"emails": [`, `"emails": [{"value": "y@example.org"},`, 1)
	h.wantError(h.ask(admin, "POST", "/Users", two, nil), 400, "invalid_scim_resource", "Exactly one email")
	h.wantError(h.ask(admin, "POST", "/Users", strings.Replace(body, `"active": true`, `"active": false`, 1), nil),
		400, "invalid_scim_resource", "Every user is active")
}

// TestChangeUser says anew who a user is, as Terraform and Java clients do: they send back what they were shown.
func TestChangeUser(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	admin := h.logIn().Access
	ada := h.createUser("ada")
	h.createUser("bob")
	session := h.try("ada", password).Access
	var shown map[string]any
	h.ask(admin, "GET", "/Users/"+ada.ID, "", &shown)
	shown["userName"], shown["name"] = "Zoë", map[string]string{"givenName": "Zoë", "familyName": "Å"}
	shown["emails"] = []map[string]any{{"value": "z@example.org", "primary": true}}
	body, err := json.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}
	put := func(version, body string, v any) reply {
		t.Helper()
		return h.askWith(http.Header{"If-Match": {version}}, admin, "PUT", "/Users/"+ada.ID, body, v)
	}
	h.wantError(put("", string(body), nil), 400, "invalid_scim_resource", "Missing If-Match")
	h.wantError(put("7", string(body), nil), 412, "scim_resource_conflict", "at version 0")
	var changed map[string]any
	if a := put("0", string(body), &changed); a.status != http.StatusOK {
		t.Fatalf("answered %d %s", a.status, a.Description)
	}
	if got := fmt.Sprint(changed["userName"], changed["name"], changed["emails"], changed["meta"].(map[string]any)["version"]); got !=
		"Zoëmap[familyName:Å givenName:Zoë] [map[primary:true value:z@example.org]] 1" {
		t.Errorf("changed to %s", got)
	}
	if c := said(t, h.try("zoë", password).Access, 1); c["user_name"] != "Zoë" || c["user_id"] != ada.ID {
		t.Errorf("logs in as %v", c)
	}
	if by, err := h.Authenticate(t.Context(), "bearer "+session); err != nil || by.Username != "Zoë" {
		t.Errorf("the session goes on as %+v (%v)", by, err)
	}
	h.wantError(put("0", string(body), nil), 412, "scim_resource_conflict", "at version 1")
	h.wantError(put("*", `{"userName": "bob"}`, nil), 409, "scim_resource_already_exists", "already in use")
	h.wantError(put("*", `{"userName": "a b"}`, nil), 400, "invalid_scim_resource", "must consist of")
	h.wantError(put("*", `{"userName": "a", "password": "correct horse"}`, nil), 400, "invalid_scim_resource", "/password")
	h.wantError(put("*", `{"userName": "a", "shoes": 2}`, nil), 400, "invalid_request", "JSON object")
	h.wantError(h.askWith(http.Header{"If-Match": {"*"}}, admin, "PUT", "/Users/nobody", `{"userName": "a"}`, nil), 404,
		"scim_resource_not_found", "does not exist")
}

func TestWhatIsNoUser(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	admin := h.logIn().Access
	h.createUser("ada")
	for name, tc := range map[string]struct {
		body              string
		status            int
		code, description string
	}{
		"taken":           {newUser("ada", password, ""), 409, "scim_resource_already_exists", "already in use"},
		"in capitals":     {newUser("ADA", password, ""), 409, "scim_resource_already_exists", "already in use"},
		"another origin":  {newUser("bob", "", "ldap"), 400, "invalid_scim_resource", `no identity provider "ldap"`},
		"no name":         {newUser("", password, ""), 400, "invalid_scim_resource", "must be provided"},
		"a space":         {newUser("bob smith", password, ""), 400, "invalid_scim_resource", "must consist of"},
		"a quote":         {newUser(`bob"`, password, ""), 400, "invalid_scim_resource", "must consist of"},
		"a line":          {newUser("bob\n", password, ""), 400, "invalid_scim_resource", "must consist of"},
		"NUL":             {newUser("bob\x00", password, ""), 400, "invalid_request", "JSON object"},
		"too long":        {newUser(strings.Repeat("b", 321), password, ""), 400, "invalid_scim_resource", "longer than"},
		"no password":     {newUser("bob", "", ""), 422, "invalid_password", "at least 8"},
		"a weak password": {newUser("bob", "1234567", ""), 422, "invalid_password", "at least 8"},
		"a vast password": {newUser("bob", strings.Repeat("x", 513), ""), 422, "invalid_password", "longer than"},
		"unknown field":   {`{"userName": "bob", "password": "correct horse", "admin": true}`, 400, "invalid_request", "JSON object"},
		"no object":       {`[]`, 400, "invalid_request", "JSON object"},
		"two objects":     {newUser("bob", password, "") + "{}", 400, "invalid_request", "JSON object"},
		"too large":       {newUser("bob", strings.Repeat("x", 17<<10), ""), 413, "invalid_request", "16KB"},
	} {
		t.Run(name, func(t *testing.T) {
			h.wantError(h.ask(admin, "POST", "/Users", tc.body, nil), tc.status, tc.code, tc.description)
		})
	}
	if all, err := h.store.Accounts(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("there are %d users (%v), want admin and ada", len(all), err)
	}
}

// TestWhoManagesUsers asks each request as each who may be told apart.
func TestWhoManagesUsers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	victim := h.createUser("victim")
	access := map[string]string{"": "", "admin": h.logIn().Access}
	for _, role := range []backstay.GlobalRole{"", backstay.AdminReadOnly, backstay.GlobalAuditor} {
		name := "user-" + string(role)
		h.createUser(name)
		if err := h.SetGlobalRole(t.Context(), operator, name, role); err != nil {
			t.Fatal(err)
		}
		access[name] = h.try(name, password).Access
	}
	h.createClient("robot")
	access["robot"] = h.tryClient("robot", password).Access
	for who, token := range access {
		for request, may := range map[string][]string{
			`GET /Users?filter=userName+eq+"victim"`: {"admin", "user-admin_read_only", "user-global_auditor"},
			"GET /oauth/clients/robot":               {"admin", "robot"},
			"GET /Users/" + victim.ID:                {"admin", "user-admin_read_only", "user-global_auditor"},
			"GET /userinfo":                          {"admin", "user-", "user-admin_read_only", "user-global_auditor"},
			"POST /Users":                            {"admin"},
			"PUT /Users/" + victim.ID:                {"admin"},
			"PUT /Users/" + victim.ID + "/password":  {"admin"},
			"DELETE /Users/nobody":                   {"admin"},
		} {
			method, path, _ := strings.Cut(request, " ")
			body := map[string]string{"POST": newUser("made-by-"+who, password, ""), "PUT": `{"password": "another horse"}`}[method]
			status := h.ask(token, method, path, body, new(map[string]any)).status
			switch {
			case who == "":
				if status != http.StatusUnauthorized {
					t.Errorf("%s by nobody: %d", request, status)
				}
			case slices.Contains(may, who) != (status != http.StatusForbidden):
				t.Errorf("%s by %s: %d", request, who, status)
			}
		}
	}
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada, other := h.createUser("ada"), h.createUser("other")
	session, elsewhere := h.try("ada", password), h.try("ada", password)
	change := func(access, id, old, new string) reply {
		t.Helper()
		return h.ask(access, "PUT", "/Users/"+id+"/password", fmt.Sprintf(`{"oldPassword": %q, "password": %q}`, old, new),
			nil)
	}
	h.wantError(change(session.Access, ada.ID, "wrong", "battery staple"), 401, "unauthorized", "Old password is incorrect")
	h.wantError(change(session.Access, ada.ID, "", "battery staple"), 401, "unauthorized", "Old password is incorrect")
	h.wantError(change(session.Access, ada.ID, password, password), 422, "invalid_password", "cannot be the same")
	h.wantError(change(session.Access, ada.ID, password, "short"), 422, "invalid_password", "at least 8")
	h.wantError(change(session.Access, other.ID, password, "battery staple"), 403, "insufficient_scope", "")
	h.wantError(change(session.Access, "nobody", password, "battery staple"), 403, "insufficient_scope", "")
	if a := change(session.Access, ada.ID, password, "battery staple"); a.status != http.StatusOK {
		t.Fatalf("with the old password: %d %s", a.status, a.Description)
	}
	h.wantUnknown("bearer "+session.Access, invalid)
	h.wantUnknown("bearer "+elsewhere.Access, invalid)
	h.wantError(h.refresh(elsewhere.Refresh), 401, "invalid_token", "")
	h.wantError(h.try("ada", password), 401, "unauthorized", badCredentials)

	admin := h.logIn().Access
	h.wantError(change(admin, "nobody", "", "battery staple"), 404, "scim_resource_not_found", "nobody does not exist")
	if a := change(admin, ada.ID, "", "another horse"); a.status != http.StatusOK {
		t.Errorf("an administrator, for another: %d %s", a.status, a.Description)
	}
	if a := h.try("ada", "another horse"); a.status != http.StatusOK {
		t.Errorf("with the administrator's choice: %d", a.status)
	}
	h.createClient("robot")
	h.wantError(change(admin, "robot", "", "battery staple"), 404, "scim_resource_not_found", "")
}

// TestGuessingTheOldPassword shows that a stolen session does not help to guess the password.
func TestGuessingTheOldPassword(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada := h.createUser("ada")
	access := h.try("ada", password).Access
	guess := func(old string) reply {
		t.Helper()
		return h.ask(access, "PUT", "/Users/"+ada.ID+"/password",
			fmt.Sprintf(`{"oldPassword": %q, "password": "battery staple"}`, old), nil)
	}
	for range 5 {
		h.wantError(guess("wrong"), 401, "unauthorized", "Old password is incorrect")
	}
	h.wantError(guess(password), 401, "unauthorized", locked)
	h.wantError(h.try("ada", password), 401, "unauthorized", locked)
	h.pass(time.Second)
	if a := guess(password); a.status != http.StatusOK {
		t.Errorf("after the wait: %d %s", a.status, a.Description)
	}
}

func TestDeleteUser(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada := h.createUser("ada")
	session, admin := h.try("ada", password), h.logIn().Access
	var gone foundUser
	if a := h.ask(admin, "DELETE", "/Users/"+ada.ID, "", &gone); a.status != http.StatusOK || gone != ada {
		t.Fatalf("deleted %+v: %d %s", gone, a.status, a.Description)
	}
	h.wantError(h.ask(admin, "DELETE", "/Users/"+ada.ID, "", nil), 404, "scim_resource_not_found", "does not exist")
	h.wantUnknown("bearer "+session.Access, invalid)
	h.wantError(h.refresh(session.Refresh), 401, "invalid_token", "")
	h.wantError(h.try("ada", password), 401, "unauthorized", badCredentials)
	h.createClient("robot")
	h.wantError(h.ask(admin, "DELETE", "/Users/robot", "", nil), 404, "scim_resource_not_found", "")
	by, err := h.Authenticate(t.Context(), "bearer "+admin)
	if err != nil {
		t.Fatal(err)
	}
	h.wantError(h.ask(admin, "DELETE", "/Users/"+string(by.UserID), "", nil), 400, "invalid_scim_resource",
		"last administrator")
	h.createUser("ada")
	h.wantUnknown("bearer "+session.Access, invalid)
}

func TestTheUserAdminIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.createUser("ada")
	if err := h.SetGlobalRole(t.Context(), operator, "Ada", backstay.Administrator); err != nil {
		t.Fatal(err)
	}
	admin, err := h.store.UserNamed(t.Context(), "admin")
	if err != nil {
		t.Fatal(err)
	}
	if a := h.ask(h.try("ada", password).Access, "DELETE", "/Users/"+string(admin.ID), "",
		nil); a.status != http.StatusOK {
		t.Fatalf("one administrator deletes another: %d %s", a.status, a.Description)
	}
	if _, created, err := h.EnsureAdmin(t.Context()); created || err != nil {
		t.Errorf("created %t (%v), though ada is an administrator", created, err)
	}
}

func (h *house) tryClient(id, secret string) reply {
	h.Helper()
	r := tokenRequest("grant_type", "client_credentials", "client_id", id, "client_secret", secret)
	r.Header.Del("Authorization")
	r.RemoteAddr = "127.0.0.1:40000"
	return h.do(r)
}

func TestClients(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	secret, err := h.CreateClient(t.Context(), operator, "robot", backstay.GlobalAuditor, "")
	if err != nil || len(secret) < 24 {
		t.Fatalf("a secret of %d characters (%v)", len(secret), err)
	}
	a := h.tryClient("robot", secret.Reveal())
	if a.status != http.StatusOK || a.Refresh != "" || a.ExpiresIn != 3600 {
		t.Fatalf("answered %+v", a)
	}
	want := backstay.Actor{UserID: "robot", Username: "robot", Client: true, Role: backstay.GlobalAuditor}
	if by, err := h.Authenticate(t.Context(), "bearer "+a.Access); err != nil || by != want {
		t.Errorf("actor %+v (%v), want %+v", by, err, want)
	}
	c := said(t, a.Access, 1)
	if _, named := c["user_name"]; named || c["client_id"] != "robot" || c["sub"] != "robot" ||
		c["grant_type"] != "client_credentials" {
		t.Errorf("the token says %v", c)
	}
	basic := tokenRequest("grant_type", "client_credentials")
	basic.SetBasicAuth("robot", secret.Reveal())
	if a := h.do(basic); a.status != http.StatusOK {
		t.Errorf("with Basic authentication: %d %s", a.status, a.Description)
	}
	h.pass(time.Hour - time.Second)
	if _, err := h.Authenticate(t.Context(), "bearer "+a.Access); err != nil {
		t.Errorf("within the hour: %v", err)
	}
	h.pass(time.Second)
	h.wantUnknown("bearer "+a.Access, invalid)
	h.wantError(h.try("robot", secret.Reveal()), 401, "unauthorized", badCredentials)
	h.wantError(h.tryClient("admin", h.password), 401, "unauthorized", badCredentials)
	h.wantError(h.tryClient("cf", ""), 401, "unauthorized", badCredentials)
}

func TestClientsEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.createClient("robot")
	first := h.tryClient("robot", password).Access
	if _, err := h.RotateSecret(t.Context(), operator, "robot", "another secret"); err != nil {
		t.Fatal(err)
	}
	h.wantUnknown("bearer "+first, invalid)
	h.wantError(h.tryClient("robot", password), 401, "unauthorized", badCredentials)
	second := h.tryClient("robot", "another secret")
	if r := h.revoke(second.ID, second.Access); r.status != http.StatusOK {
		t.Errorf("logging out: %d %s", r.status, r.Description)
	}
	h.wantUnknown("bearer "+second.Access, invalid)
	third := h.tryClient("robot", "another secret").Access
	if err := h.DeleteClient(t.Context(), operator, "robot"); err != nil {
		t.Fatal(err)
	}
	h.createClient("robot")
	h.wantUnknown("bearer "+third, invalid)
	if err := h.DeleteClient(t.Context(), operator, "nobody"); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("a client that is not there: %v", err)
	}
	admin, err := h.store.UserNamed(t.Context(), "admin")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.DeleteClient(t.Context(), operator, string(admin.ID)); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("a user, deleted as a client: %v", err)
	}
}

func TestWhatIsNoClient(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, id := range []string{"", "cf", "Robot", "a b", "-a", ".a", "ä", strings.Repeat("a", 64), "0190a5b2-7750-7505-8b2c-db774d48e571"} {
		if _, err := h.CreateClient(t.Context(), operator, id, "", ""); backstay.KindOf(err) != backstay.Invalid {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := h.CreateClient(t.Context(), operator, "robot", "", "short"); backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("a short secret: %v", err)
	}
	h.createClient("robot")
	if _, err := h.CreateClient(t.Context(), operator, "robot", "", ""); backstay.KindOf(err) != backstay.Taken {
		t.Errorf("twice: %v", err)
	}
}

func TestGuessingSecretsIsSlowed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.createClient("robot")
	for range 10 { // the cf command, whose client's token has run out, is no guesser
		h.wantError(h.tryClient("robot", ""), 401, "unauthorized", badCredentials)
	}
	for range 5 {
		h.wantError(h.tryClient("robot", "wrong"), 401, "unauthorized", badCredentials)
		h.wantError(h.tryClient("nobody", "wrong"), 401, "unauthorized", badCredentials)
	}
	h.wantError(h.tryClient("robot", password), 401, "unauthorized", locked)
	h.wantError(h.tryClient("nobody", password), 401, "unauthorized", locked)
	h.pass(time.Second)
	if a := h.tryClient("robot", password); a.status != http.StatusOK {
		t.Errorf("after the wait: %d %s", a.status, a.Description)
	}
}

// events lists "type actor target address data", oldest first.
func (h *house) events() []string {
	h.Helper()
	conn, err := pgx.Connect(h.Context(), h.dsn)
	if err != nil {
		h.Fatal(err)
	}
	defer conn.Close(h.Context())
	rows, err := conn.Query(
		h.Context(),
		`SELECT concat_ws(' ', type, nullif(actor_name, ''), '>', nullif(target_name, ''), nullif(address, ''), nullif(data::text, '{}')) FROM audit.events ORDER BY created_at, id`,
	)
	if err != nil {
		h.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		h.Fatal(err)
	}
	return all
}

func TestEvents(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ada := h.createUser("ada")
	h.ask(h.logIn().Access, "POST", "/Users", newUser("ada", password, ""), nil) // changes nothing
	h.try("ada", "hunter2")
	h.try("hunter2", "x")
	h.ask(h.try("ada", password).Access, "PUT", "/Users/"+ada.ID+"/password",
		`{"oldPassword": "correct horse", "password": "battery staple"}`, nil)
	if err := h.SetGlobalRole(t.Context(), operator, "ada", backstay.AdminReadOnly); err != nil {
		t.Fatal(err)
	}
	h.createClient("robot")
	h.tryClient("robot", "hunter2")
	if _, err := h.RotateSecret(t.Context(), operator, "robot", ""); err != nil {
		t.Fatal(err)
	}
	if err := h.DeleteClient(t.Context(), operator, "robot"); err != nil {
		t.Fatal(err)
	}
	h.ask(h.logIn().Access, "DELETE", "/Users/"+ada.ID, "", nil)
	want := []string{
		`audit.user.create backstay > admin {"global_role": "admin"}`,
		`audit.user.create admin > ada 127.0.0.1`,
		`audit.request.refused admin > 127.0.0.1 {"error": "scim_resource_already_exists", "request": {"path": "/Users", "method": "POST"}}`,
		`audit.user.login_failed ada > ada 127.0.0.1`,
		`audit.user.login_failed > 127.0.0.1`,
		`audit.user.password_change ada > ada 127.0.0.1`,
		`audit.user.global_role_change operator > ada {"global_role": "admin_read_only"}`,
		`audit.client.create operator > robot {"global_role": ""}`,
		`audit.client.login_failed robot > robot 127.0.0.1`,
		`audit.client.secret_change operator > robot`,
		`audit.client.delete operator > robot`,
		`audit.user.delete admin > ada 127.0.0.1`,
	}
	if got := h.events(); !slices.Equal(got, want) {
		t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestOneNameAtOnce lets many make the same user.
func TestOneNameAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	admin := h.logIn().Access
	answers := make(chan int, 12)
	var all sync.WaitGroup
	for i := range cap(answers) {
		all.Go(func() {
			answers <- h.ask(admin, "POST", "/Users", newUser([]string{"ada", "ADA", "Ada"}[i%3], password, ""), nil).status
		})
	}
	all.Wait()
	close(answers)
	count := map[int]int{}
	for status := range answers {
		count[status]++
	}
	if count[http.StatusCreated] != 1 || count[http.StatusConflict] != cap(answers)-1 {
		t.Errorf("answers %v, want one winner", count)
	}
}

// FuzzUserRequests finds no request of an administrator that breaks the server.
func FuzzUserRequests(f *testing.F) {
	h := newHouse(f)
	admin := h.logIn().Access
	f.Add(`userName eq "ada" and origin eq "uaa"`, "ada", newUser("ada", password, ""))
	f.Add("userName eq \"\x00\"", "\x00", `{"oldPassword": null, "password": "battery staple"}`)
	f.Add("", "\xff", "{}")
	f.Fuzz(func(t *testing.T, filter, id, body string) {
		for method, path := range map[string]string{
			"GET":    "/Users?" + url.Values{"filter": {filter}}.Encode(),
			"POST":   "/Users",
			"PUT":    "/Users/" + url.PathEscape(id) + "/password",
			"DELETE": "/Users/" + url.PathEscape(id),
			"HEAD":   "/oauth/clients/" + url.PathEscape(id),
		} {
			r := httptest.NewRequest(method, path, strings.NewReader(body))
			r.Header.Set("Authorization", "bearer "+admin)
			w := httptest.NewRecorder()
			h.handler.ServeHTTP(w, r)
			if w.Code >= http.StatusInternalServerError {
				t.Errorf("%s %s with %q answered %d %s", method, path, body, w.Code, w.Body)
			}
		}
	})
}
