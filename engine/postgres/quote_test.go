package postgres

import (
	"context"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// FuzzQuote holds what we quote against what PostgreSQL reads, under both of its rules for backslashes.
func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"", "owner", `a"b`, "a'b", `a\b`, `\'; DROP ROLE x; --`, `\\'`, "$1 %s ?", "é\n\t",
		strings.Repeat(`'"\`, 20)} {
		f.Add(seed)
	}
	conn := sessionOf(f)
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			t.Skip("no text of PostgreSQL's")
		}
		for _, conforming := range []string{"on", "off"} {
			if _, err := conn.Exec(t.Context(), "SET standard_conforming_strings = "+conforming); err != nil {
				t.Fatal(err)
			}
			var got string
			if err := conn.QueryRow(t.Context(), "SELECT "+quoteText(text)).Scan(&got); err != nil || got != text {
				t.Errorf("%q, standard_conforming_strings %s: got %q, %v", text, conforming, got, err)
			}
		}
		if text != "" && len(text) < 64 { // it can be a name
			wantName(t, conn, text)
		}
	})
}

func sessionOf(f *testing.F) *pgx.Conn {
	cfg, err := pgx.ParseConfig(testkit.Postgres(f))
	if err != nil {
		f.Fatal(err)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // pgx rewrites no statement in it
	cfg.RuntimeParams["escape_string_warning"] = "off"
	conn, err := pgx.ConnectConfig(f.Context(), cfg)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func wantName(t *testing.T, conn *pgx.Conn, name string) {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT 1 AS "+quoteName(name))
	if err != nil {
		t.Fatalf("name %q: %v", name, err)
	}
	defer rows.Close()
	if got := rows.FieldDescriptions()[0].Name; got != name {
		t.Errorf("name %q: got %q", name, got)
	}
}

// FuzzQuoteSetting reads a line as PostgreSQL's reader of settings does (guc-file.l): between quotes, a
// doubled quote is one, and a backslash changes what follows.
func FuzzQuoteSetting(f *testing.F) {
	for _, seed := range []string{"", "on", "it's", `C:\new`, "a\nssl = off", "a#b", "\x7f", `\'`, "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		quoted, err := pgserver.QuoteSetting(value)
		if strings.ContainsFunc(value, unicode.IsControl) && err != nil {
			return
		}
		if err != nil {
			t.Fatalf("%q is refused: %v", value, err)
		}
		inside, begun := strings.CutPrefix(quoted, "'")
		inside, ended := strings.CutSuffix(inside, "'")
		if lone := strings.NewReplacer(`\\`, "", "''", "").Replace(inside); !begun || !ended ||
			strings.ContainsAny(lone, "\\'\n\r\x00") {
			t.Errorf("%q is written as %s", value, quoted)
		}
		if got := strings.NewReplacer(`\\`, `\`, "''", "'").Replace(inside); got != value {
			t.Errorf("%q is read as %q", value, got)
		}
	})
}
