package mysql

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// FuzzQuoteText holds what we quote against what the server reads in a session of ours.
func FuzzQuoteText(f *testing.F) {
	for _, seed := range []string{"", "root", `a"b`, "a'b", `a\b`, `\'; DROP USER x; -- `, `\\'`, "? %s $1", "é\n\t\x1a",
		strings.Repeat(`'"\`, 20)} {
		f.Add(seed)
	}
	n := enginetest.Private(Engine{}, enginetest.NewNode(f, Engine{}))
	enginetest.Serve(f, Engine{}, n)
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			t.Skip("no text of the server's")
		}
		err := withAdmin(t.Context(), n, func(conn *sql.Conn) error {
			got, err := column(context.Background(), conn, "SELECT "+quoteText(text))
			if err == nil && got[0] != text {
				t.Errorf("%q: got %q", text, got[0])
			}
			return err
		})
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// FuzzQuoteSetting holds what we quote against what MariaDB's programs read from a file.
func FuzzQuoteSetting(f *testing.F) {
	for _, seed := range []string{"", "ON", "it's", `C:\new`, "a\nssl = 0", "a#b", "\x7f", `\"`, `\'#`, `"#`, ` a `, "é",
		`\s\n`, "!include x", "a;b"} {
		f.Add(seed)
	}
	file := filepath.Join(f.TempDir(), "my.cnf")
	f.Fuzz(func(t *testing.T, value string) {
		quoted, err := quoteSetting(value)
		if strings.ContainsFunc(value, unicode.IsControl) && err != nil {
			return
		}
		if err != nil {
			t.Fatalf("%q is refused: %v", value, err)
		}
		if len(value) > 1000 { // no path is longer, and no line of the file may be
			t.Skip("longer than any setting")
		}
		if err := os.WriteFile(file, []byte("[mariadbd]\nx = "+quoted+"\ny = \"z\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "my_print_defaults", "--defaults-file="+file, "mariadbd").Output()
		if want := "--x=" + value + "\n--y=z\n"; err != nil || string(out) != want {
			t.Errorf("%s is read as %q (%v), want %q", quoted, out, err, want)
		}
	})
}

// The server's own function made these.
func TestHashed(t *testing.T) {
	t.Parallel()
	for password, want := range map[backstay.Secret]string{
		"password": "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19",
		"mariadb":  "*54958E764CE10E50764C2EECBB71D01F08549980",
	} {
		if got := hashed(password); got != want {
			t.Errorf("%s: got %s, want %s", password.Reveal(), got, want)
		}
	}
}

func TestOperatorNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{"root": true, "back-stay": true, `DOMAIN\user`: true, "machine$": true,
		"": false, "a'b": false, "a b": false, "a;b": false, "a\nb": false, "-a": false} {
		if err := checkOperator(name); (err == nil) != ok {
			t.Errorf("%q: got %v, want it to be taken: %t", name, err, ok)
		}
	}
}
