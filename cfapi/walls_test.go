package cfapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// things are what the recipes of all routes name, one of a kind.
var things = []string{
	"<org>", "<space>", "<app>", "<instance>", "<binding>", "<role>", "<provided>", "<borrower>", "<lent>",
	"<quota>", "<spare-quota>", "<space-quota>", "<spare-space-quota>", "<leaver>", "<event>",
	"<space-broker>",
}

// TestWalls lets the users of one organization ask whatever comes to mind, with the ids and names of another
// organization's things mixed in: nothing there changes, and no answer tells anything that was not in the
// question.
func TestWalls(t *testing.T) {
	t.Parallel()
	rounds, steps := 12, 400
	if testing.Short() {
		rounds, steps = 1, 100
	}
	dsn := testkit.Postgres(t)
	h := newHouseAt(t, dsn)
	theirs := h.furnish(t, "stranger")
	before := theirs.dump(dsn)
	asked := &strings.Builder{}
	for range rounds {
		seed := rand.Uint64()
		v := &visitor{scene: h.furnish(t, "member"), theirs: theirs, random: rand.New(rand.NewPCG(seed, 0)), asked: asked}
		for range steps {
			if v.wander(); t.Failed() {
				t.Fatalf("with seed %d", seed)
			}
		}
		for _, job := range v.jobs {
			if _, err := h.server.Market.AwaitJob(t.Context(), job, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		if after := theirs.dump(dsn); !slices.Equal(before, after) {
			t.Fatalf("with seed %d:\ngone %s\ncome %s", seed, without(before, after), without(after, before))
		}
	}
	if granted := theirs.credentials(); granted == "" {
		t.Error("their binding has no credentials any more")
	}
}

// without are the rows that are not among the others.
func without(rows, others []string) []string {
	return slices.DeleteFunc(slices.Clone(rows), func(row string) bool { return slices.Contains(others, row) })
}

// furnished is a scene with one of all things, and what nobody else may be told of them.
type furnished struct {
	*scene
	tokens []string
}

// furnish makes an organization in which somebody has all roles, and for each role there is one who has it.
func (h *house) furnish(t *testing.T, owner string) *furnished {
	f := &furnished{scene: h.scene(t, "")}
	for _, name := range things {
		f.tokens = append(f.tokens, f.thing(name))
	}
	f.fill("<org-plan> <usage>") // are made while there is what they are about; they have no ids of their own
	for _, role := range (^market.Roles(0) &^ market.GlobalReaders).Names() {
		f.grant(owner, role)
		if owner != "stranger" {
			f.grant(role, role)
		}
	}
	m, secret := h.server.Market, "secret-"+f.thing("<app>")
	_, err := m.SetEnvironment(t.Context(), markettest.Admin, backstay.AppID(f.thing("<app>")),
		map[string]*string{"SECRET": &secret})
	if err != nil {
		t.Fatal(err)
	}
	note := backstay.MetadataUpdate{
		Labels: map[string]*string{"l" + f.thing("<space>"): &secret}, Annotations: map[string]*string{"a": &secret},
	}
	if _, err := m.UpdateSpace(t.Context(), markettest.Admin, backstay.SpaceID(f.thing("<space>")),
		market.SpaceUpdate{Update: market.Update{Metadata: note}}); err != nil {
		t.Fatal(err)
	}
	f.tokens = append(f.tokens, secret, "l"+f.thing("<space>"), f.credentials(), string(h.people["bearer "+owner].UserID))
	f.tokens = append(f.tokens, f.names()...)
	return f
}

// credentials are the password of the binding.
func (f *furnished) credentials() string {
	c, err := f.server.Market.Credentials(f.t.Context(), markettest.Admin, backstay.BindingID(f.thing("<binding>")))
	if err != nil {
		f.t.Fatal(err)
	}
	return c["password"].(string)
}

func (f *furnished) names() (names []string) {
	for _, path := range []string{"/v3/organizations/<org>", "/v3/spaces/<space>", "/v3/apps/<app>", "/v3/service_instances/<instance>", "/v3/service_credential_bindings/<binding>"} {
		var named struct{ Name string }
		if err := json.Unmarshal(f.send("admin", f.fill("GET "+path)).Body.Bytes(), &named); err != nil || named.Name == "" {
			f.t.Fatalf("%s has no name: %v", path, err)
		}
		names = append(names, named.Name)
	}
	return names
}

// dump is every row of every table that names one of the things, but for what others were refused.
func (f *furnished) dump(dsn string) (rows []string) {
	conn, err := pgx.Connect(f.t.Context(), dsn)
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close(f.t.Context())
	found, _ := conn.Query(
		f.t.Context(),
		`SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables WHERE schemaname IN ('market', 'uaa', 'audit')`,
	)
	tables, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		f.t.Fatal(err)
	}
	for _, table := range tables {
		found, _ := conn.Query(f.t.Context(), `SELECT to_jsonb(t)::text FROM `+table+` t`)
		all, err := pgx.CollectRows(found, pgx.RowTo[string])
		if err != nil {
			f.t.Fatal(err)
		}
		for _, row := range all {
			if f.isOurs(row) && !strings.Contains(row, `"audit.request.refused"`) {
				rows = append(rows, table+" "+row)
			}
		}
	}
	slices.Sort(rows)
	return rows
}

func (f *furnished) isOurs(row string) bool {
	return slices.ContainsFunc(f.tokens, func(token string) bool { return strings.Contains(row, token) })
}

// visitor asks about everything.
type visitor struct {
	scene  *furnished
	theirs *furnished
	random *rand.Rand
	jobs   []backstay.JobID
	asked  *strings.Builder // all that was ever asked, which events tell again
}

func pick[T any](v *visitor, from []T) T { return from[v.random.IntN(len(from))] }

// wander sends one request as one of the users of the scene, and looks at the answer.
func (v *visitor) wander() {
	rt := pick(v, v.scene.server.routes())
	words, how := strings.Fields(rt.pattern), recipes[rt.pattern]
	path := strings.NewReplacer("{$}", "", "{name}", "x", "{guid}", cmp.Or(how.guid, pick(v, things)),
		"{space_guid}", "<borrower>", "{space}", "<space>", "{organization}", "<org>").Replace(words[1])
	ask := how.ask
	if strings.Contains(path, "/organizations") && v.random.IntN(2) == 0 {
		ask = strings.Replace(ask, "<new>", v.theirs.names()[0],
			1) // taken; ours with the name of theirs could not be told apart below
	}
	if words[0] == http.MethodGet {
		ask = ""
		path += "?" + v.query(rt)
	}
	ask = words[0] + " " + v.fill(path) + " " + v.spoil(v.fill(ask))
	who := pick(v, (^market.Roles(0) &^ market.GlobalReaders).Names())
	w := v.scene.send(who, ask)
	if w.Code >= http.StatusInternalServerError {
		v.scene.t.Errorf("%s is told %d %s\nwhen asking %s", who, w.Code, w.Body, ask)
	}
	if job := guids.FindString(w.Header().Get("Location")); job != "" {
		v.jobs = append(v.jobs, backstay.JobID(job))
	}
	v.look(w, who, ask)
}

// look finds in an answer what was not in the question.
func (v *visitor) look(w *httptest.ResponseRecorder, who, ask string) {
	known, err := url.QueryUnescape(ask)
	if err != nil {
		known = ask
	}
	v.asked.WriteString(known)
	if strings.Contains(ask, "/v3/audit_events") {
		known = v.asked.String()
	}
	for _, token := range v.theirs.tokens {
		if strings.Contains(w.Body.String(), token) && !strings.Contains(known, token) {
			v.scene.t.Errorf("%s is told of %s in %d %s\nwhen asking %s", who, token, w.Code, w.Body, ask)
		}
	}
}

// fill puts things of both organizations into the holes.
func (v *visitor) fill(text string) string {
	return holes.ReplaceAllStringFunc(text, func(hole string) string {
		switch {
		case hole == "<new>":
			return fmt.Sprint("new-", v.random.Uint64())
		case v.random.IntN(2) == 0 && slices.Contains(things, hole):
			return v.theirs.thing(hole)
		}
		return v.scene.thing(hole)
	})
}

// query takes some of the route's filters, each with things and names of both.
func (v *visitor) query(rt route) string {
	values := url.Values{}
	for _, name := range rt.params.names {
		switch {
		case v.random.IntN(3) > 0 || name == "page" || name == "per_page":
		case name == "include":
			values.Set(name, strings.Join(rt.params.include, ","))
		case name == "order_by":
			values.Set(name, "-created_at")
		case name == "label_selector":
			values.Set(name, pick(v, []string{"!none", "l" + v.theirs.thing("<space>"), "l" + v.scene.thing("<space>")}))
		case name == "created_ats" || name == "updated_ats":
			values.Set(name+"[gt]", "2020-01-01T00:00:00Z")
		case strings.HasPrefix(name, "fields["):
			values.Set(name, "guid,name")
		case strings.HasSuffix(name, "names"):
			values.Set(name, pick(v, v.theirs.tokens)+","+pick(v, v.scene.tokens))
		default:
			values.Set(name, v.fill(pick(v, things)+","+pick(v, things)))
		}
	}
	return values.Encode()
}

// spoil now and then leaves out a piece of a body.
func (v *visitor) spoil(body string) string {
	if len(body) < 8 || v.random.IntN(5) > 0 {
		return body
	}
	from := v.random.IntN(len(body) - 4)
	return body[:from] + body[from+1+v.random.IntN(3):]
}
