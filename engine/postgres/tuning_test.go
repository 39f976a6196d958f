package postgres_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/postgres"
)

// reload puts settings in force and reports whether the rest of them needs a restart.
func (s server) reload(t *testing.T, settings string) (restart bool) {
	t.Helper()
	s.Settings = json.RawMessage(settings)
	restart, err := postgres.Engine{}.Reload(t.Context(), s.Node)
	if err != nil {
		t.Fatalf("reload with %s: %v", settings, err)
	}
	return restart
}

// TestTuning holds the table of settings to what the server says of them, and what users choose to what it does.
func TestTuning(t *testing.T) {
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 10})
	a := s.admin(t)
	for _, setting := range (postgres.Engine{}).Tuning(s.Installation) {
		a.holdSetting(t, setting)
	}
	c := s.bind(t).connect(t)
	s.reload(t, `{"settings": {"work_mem": "1MB", "timezone": "Europe/London", "search_path": "app, public",
		"statement_timeout": "5s", "jit": true, "default_transaction_isolation": "serializable"}}`)
	other := s.bind(t).connect(t)
	for name, want := range map[string]string{
		"work_mem": "1MB", "timezone": "Europe/London", "search_path": "app, public", "statement_timeout": "5s", "jit": "on",
	} {
		c.want(t, "SELECT current_setting('"+name+"')", want) // in a session that was there before
		other.want(t, "SELECT current_setting('"+name+"')", want)
	}
	if restart := s.reload(t, `{"settings": {"autovacuum_max_workers": 5}}`); !restart {
		t.Error("autovacuum_max_workers needs no restart")
	}
	if restart := s.reload(t, `{}`); restart {
		t.Error("what was never in force needs a restart to go")
	}
	c.want(t, "SELECT current_setting('timezone')", "UTC")
	c.want(t, "SELECT current_setting('statement_timeout')", "0")
}

func (c client) holdSetting(t *testing.T, setting engine.Setting) {
	t.Helper()
	var context string
	err := c.QueryRow(t.Context(), "SELECT context FROM pg_settings WHERE lower(name) = $1",
		setting.Name).Scan(&context)
	switch {
	case err == pgx.ErrNoRows:
		t.Errorf("%s: there is no such setting", setting.Name)
	case err != nil:
		t.Fatal(err)
	case setting.Restart != (context == "postmaster"):
		t.Errorf("%s needs a restart: %t, and is set by %s", setting.Name, setting.Restart, context)
	}
}

// TestDisabledExtensions go, unless something depends on them, and cannot be made until they are enabled again.
func TestDisabledExtensions(t *testing.T) {
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 10})
	c := s.bind(t).connect(t)
	s.reload(t, `{"enable_extensions": ["citext", "hstore", "pg_stat_statements"]}`)
	c.do(t, "CREATE TABLE people (name citext, more hstore)")
	s.Settings = json.RawMessage(`{"disable_extensions": ["citext", "hstore", "pg_stat_statements"]}`)
	for _, err := range []error{
		postgres.Engine{}.Check(t.Context(), s.Node), postgres.Engine{}.Configure(t.Context(), s.Node),
	} {
		if backstay.KindOf(err) != backstay.Unsupported ||
			!strings.Contains(backstay.SentenceOf(err), "column name of table public.people depends on type public.citext") {
			t.Errorf("extensions in use: %v", err)
		}
	}
	c.want(t, "SELECT count(*) FROM pg_extension WHERE extname IN ('citext', 'hstore', 'pg_stat_statements')", "3")
	c.do(t, "DROP TABLE people")
	if err := (postgres.Engine{}).Check(t.Context(), s.Node); err != nil {
		t.Error(err)
	}
	if restart := s.reload(t, string(s.Settings)); restart {
		t.Error("to disable extensions takes a restart")
	}
	c.want(t, "SELECT count(*) FROM pg_extension WHERE extname IN ('citext', 'hstore', 'pg_stat_statements')", "0")
	c.refused(t, "CREATE EXTENSION citext", denied)
	if restart := s.reload(t, `{"enable_extensions": ["citext", "pg_stat_statements"]}`); restart {
		t.Error("to enable extensions takes a restart")
	}
	c.do(t, "SELECT 'a'::citext", "SELECT count(*) FROM pg_stat_statements")
	for given, words := range map[string]string{
		`{"disable_extensions": ["plpgsql"]}`:                                 "plpgsql is not supported. Supported are: ",
		`{"enable_extensions": ["citext"], "disable_extensions": ["citext"]}`: "citext is enabled and disabled at once.",
		`{"settings": {"work_mem": "64MB"}}`:                                  "Setting work_mem cannot be \"64MB\". It takes 64KB to 1/8",
		`{"settings": {"fsync": false}}`:                                      "Unknown setting: fsync.",
		`{"settings": {"timezone": "Europe/Nowhere"}}`:                        "Europe/Nowhere",
	} {
		s.Settings = json.RawMessage(given)
		if err := (postgres.Engine{}).Check(t.Context(), s.Node); !strings.Contains(backstay.SentenceOf(err), words) {
			t.Errorf("%s: %v, want %q", given, err, words)
		}
	}
}
