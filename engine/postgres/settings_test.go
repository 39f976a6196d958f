package postgres

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

func TestParseSettings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, given string
		extensions  []string
		sentence    string // of the Invalid error, if there is to be one
	}{
		{name: "none", given: ""},
		{name: "empty", given: `{}`},
		{name: "null", given: `null`},
		{name: "no extension", given: `{"enable_extensions": []}`},
		{name: "one", given: `{"enable_extensions": ["postgis"]}`, extensions: []string{"postgis"}},
		{name: "sorted, each once", given: `{"enable_extensions": ["uuid-ossp","postgis","uuid-ossp"]}`,
			extensions: []string{"postgis", "uuid-ossp"}},
		{name: "trusted but not offered", given: `{"extensions": ["postgis", "citext"], "enable_extensions": ["hstore"]}`,
			sentence: "hstore is not supported. Supported are: citext, postgis."},
		{name: "collation of ICU", given: `{"collation": "zh-Hant-TW"}`},
		{name: "collation of the C library", given: `{"collation": "en_GB.utf8"}`},
		{name: "collation by numbers", given: `{"collation": "C"}`},
		{name: "no language", given: `{"collation": "xq-GB"}`, sentence: `"xq-GB" is not a collation. Possible are C.UTF-8, ` +
			`and a language with a country, such as en-GB, en_GB.UTF-8 or zh-Hant-TW.`},
		{name: "no country", given: `{"collation": "en_XY.UTF-8"}`, sentence: `"en_XY.UTF-8" is not a collation. ` +
			`Possible are C.UTF-8, and a language with a country, such as en-GB, en_GB.UTF-8 or zh-Hant-TW.`},
		{name: "no UTF-8", given: `{"collation": "en_GB.ISO-8859-1"}`, sentence: `"en_GB.ISO-8859-1" is not a collation. ` +
			`Possible are C.UTF-8, and a language with a country, such as en-GB, en_GB.UTF-8 or zh-Hant-TW.`},
		{name: "none offered", given: `{"extensions": []}`},
		{name: "case matters", given: `{"extensions": ["postgis"], "enable_extensions": ["PostGIS"]}`,
			sentence: "PostGIS is not supported. Supported are: postgis."},
		{name: "injection", given: `{"extensions": ["seg"], "enable_extensions": ["postgis\"; DROP TABLE x"]}`,
			sentence: `postgis"; DROP TABLE x is not supported. Supported are: seg.`},
		{name: "offered, and for superusers", given: `{"extensions": ["postgis", "dblink"]}`,
			sentence: `The extension "dblink" cannot be offered: PostgreSQL trusts nobody but superusers with it.`},
		{name: "offered, and a language", given: `{"extensions": ["plperl"]}`,
			sentence: `The extension "plperl" cannot be offered: it runs programs of tenants within the server.`},
		{name: "offered, and not there", given: `{"extensions": ["no_such"]}`,
			sentence: `The extension "no_such" cannot be offered: PostgreSQL 15 does not have it on this machine.`},
		{name: "offered, and no name", given: `{"extensions": ["../x"]}`,
			sentence: `The extension "../x" cannot be offered: an extension has another kind of name.`},
		{name: "unknown key", given: `{"enable_extension": []}`,
			sentence: `The settings are not what PostgreSQL takes: unknown field "enable_extension".`},
		{name: "wrong type", given: `{"enable_extensions": "postgis"}`,
			sentence: "The settings are not what PostgreSQL takes: enable_extensions must be an array, not string."},
		{name: "wrong type within", given: `{"enable_extensions": [7]}`,
			sentence: "The settings are not what PostgreSQL takes: enable_extensions must be a string, not number."},
		{name: "not an object", given: `[]`,
			sentence: "The settings are not what PostgreSQL takes: it must be an object, not array."},
		{name: "two values", given: `{}{}`,
			sentence: "The settings are not what PostgreSQL takes: more than one JSON value."},
		{name: "not JSON", given: `{`, sentence: "The settings are not what PostgreSQL takes: unexpected EOF."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			debians := engine.Installation{Version: "15", Dir: "/usr/lib/postgresql/15/bin"}
			s, err := parseSettings(engine.Node{Settings: json.RawMessage(tc.given), Installation: debians})
			if tc.sentence != "" {
				if backstay.KindOf(err) != backstay.Invalid || backstay.SentenceOf(err) != tc.sentence {
					t.Fatalf("got %v %q, want invalid %q", backstay.KindOf(err), backstay.SentenceOf(err), tc.sentence)
				}
				return
			}
			if err != nil || !slices.Equal(s.EnableExtensions, tc.extensions) {
				t.Fatalf("got %v, %v, want %v", s.EnableExtensions, err, tc.extensions)
			}
		})
	}
}
