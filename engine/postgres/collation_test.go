package postgres_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
)

const (
	sorted      = `SELECT string_agg(x, ' ' ORDER BY x) FROM unnest(ARRAY['Zoe', 'anna', 'Ärger', 'Bert']) AS x`
	byLanguage  = "anna Ärger Bert Zoe"
	byCharacter = "Bert Zoe anna Ärger"
)

// TestCollation: text sorts as was chosen when the instance was made, and as dumps from other systems name it.
func TestCollation(t *testing.T) {
	t.Parallel()
	chosen, plain := enginetest.NewNode(t, postgres.Engine{}), enginetest.NewNode(t, postgres.Engine{})
	chosen.Settings = json.RawMessage(`{"collation": "en_GB.UTF-8"}`)
	plain.CacheDir = chosen.CacheDir // both golden directories are there then
	for _, tc := range []struct {
		s          server
		locale, is string
	}{{server{chosen}, "en-GB", byLanguage}, {server{plain}, "none", byCharacter}} {
		p := enginetest.Serve(t, postgres.Engine{}, tc.s.Node)
		admin := tc.s.admin(t)
		admin.want(t, `SELECT coalesce(daticulocale, 'none') FROM pg_database WHERE datname = 'main'`, tc.locale)
		admin.want(t, sorted, tc.is)
		admin.want(t, `SELECT upper('ä')`, "Ä")
		for _, name := range []string{"en_GB.utf8", "en_US.utf8", "de_DE.utf8", "de_DE", "en-GB-x-icu"} {
			admin.want(t, strings.Replace(sorted, "ORDER BY x", `ORDER BY x COLLATE "`+name+`"`, 1), byLanguage)
		}
		admin.want(t, strings.Replace(sorted, "ORDER BY x", `ORDER BY x COLLATE "C"`, 1), byCharacter)
		p.Kill(t)
	}
	chosen.Settings = json.RawMessage(`{"collation": "sv-SE"}`) // that is for new ones
	enginetest.Serve(t, postgres.Engine{}, chosen)
	server{chosen}.admin(t).want(t, `SELECT daticulocale FROM pg_database WHERE datname = 'main'`, "en-GB")
}

// A dump with collations of the system that it is from is restored, and those that we have made are not in a dump.
func TestCollationsInDumps(t *testing.T) {
	t.Parallel()
	s := serve(t, backstay.Size{Storage: backstay.GB, Memory: 256 * backstay.MB, Connections: 10})
	b := s.bind(t)
	b.connect(t).do(t, `CREATE TABLE people (name text COLLATE "en_GB.utf8" PRIMARY KEY)`,
		`CREATE COLLATION mine (PROVIDER = icu, LOCALE = 'sv-SE')`)
	said, err := b.run(t, "verify-full", s.TLS.Authority, "pg_dump")
	if err != nil || strings.Count(said, "CREATE COLLATION") != 1 || !strings.Contains(said, `COLLATE pg_catalog."en_GB.utf8"`) {
		t.Errorf("%v: %s", err, said)
	}
}
