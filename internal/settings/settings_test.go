package settings

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// shop is what the settings of these tests are read into.
type shop struct {
	count int
	names string
	open  bool
	code  string
}

func newTable() Table[shop] {
	return Table[shop]{{Title: "Shop", Intro: "All of it.", Settings: []Setting[shop]{
		{Name: "shelf-count", Value: "N", Unit: "a number", Help: "how many shelves there are", Default: "3",
			Read: func(s *shop, text string) (err error) {
				if s.count, err = strconv.Atoi(text); err != nil {
					return errors.New("is not a number")
				}
				return nil
			}},
		{Name: "names", Value: "NAME,…", Unit: "names", Help: "who serves", List: true,
			Read: func(s *shop, text string) error { s.names = text; return nil }},
		{Name: "open", Unit: "true or false", Help: "whether it is open",
			Read: func(s *shop, text string) (err error) { s.open, err = strconv.ParseBool(text); return err }},
		{Name: "code", Value: "CODE", Unit: "a code", Help: "of the door",
			Show: func(string) string { return "hidden" },
			Read: func(s *shop, text string) error {
				if s.code = text; text == "1234" {
					return errors.New("is too easy")
				}
				return nil
			}},
	}}}
}

func TestFlagsGoOverTheFileAndTheFileOverDefaults(t *testing.T) {
	t.Parallel()
	table, flags := newTable(), Values{}
	fs := flag.NewFlagSet("shop", flag.ContinueOnError)
	table.Flags(fs, flags)
	if err := fs.Parse([]string{"--names", "ada", "--open"}); err != nil {
		t.Fatal(err)
	}
	file, mistakes := table.parse("f", []byte("names: [bob, eve]\nopen: false\ncode: 7\n"))
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	var s shop
	inForce, mistakes := table.Read(&s, flags, file)
	if mistakes != nil || s != (shop{3, "ada", true, "7"}) {
		t.Errorf("read %+v, %v", s, mistakes)
	}
	for name, want := range map[string]string{"shelf-count": FromDefault, "names": FromFlag, "open": FromFlag,
		"code": "f:3"} {
		if got := inForce[name].From; got != want {
			t.Errorf("%s comes from %s, want %s", name, got, want)
		}
	}
	if args := strings.Join(table.Args(inForce, "names", "shelf-count"), " "); args != "--shelf-count 3 --names ada" {
		t.Errorf("the same again is said by %q", args)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, want string }{
		{"", ""},
		{"# nothing\n", ""},
		{"---\n", ""},
		{"names: a,b\n", ""},
		{"names:\n", ""},
		{"shelf-count: 0x10", `f:1: shelf-count "0x10" is not a number.`},
		{"names: {a: b}", "f:1: names must be names."},
		{"names: [[a]]", "f:1: names must be names."},
		{"shelf-count: [1]", "f:1: shelf-count must be a number."},
		{"names: &n a\ncode: *n", "f:2: code must be a code."},
		{"colour: red", `f:1: there is no setting "colour".`},
		{"shelfCount: 1", `f:1: there is no setting "shelfCount": it is written shelf-count.`},
		{"open: true\nopen: true", "f:2: open stands at f:1 already."},
		{"code: 1234", `f:1: code "hidden" is too easy.`},
		{"- a", `f:1: settings must stand there, each as in "NAME: VALUE".`},
		{"open: true\n---\nopen: true", "f must be one document of YAML, not several."},
		{"a: b: c", "f is no YAML: mapping values are not allowed in this context."},
		{"shelf-count: x\nopen: maybe\n",
			"There are 2 mistakes in the settings:\n  f:1: shelf-count \"x\" is not a number.\n  f:2: open"},
	} {
		table := newTable()
		values, mistakes := table.parse("f", []byte(tc.text))
		_, more := table.Read(new(shop), values)
		if mistakes = append(mistakes, more...); len(mistakes) == 0 != (tc.want == "") ||
			!strings.HasPrefix(mistakes.Error(), tc.want) {
			t.Errorf("%q: %q, want %q", tc.text, mistakes.Error(), tc.want)
		}
	}
}

func TestASecretInAFileIsNobodyElses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("code: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, mistakes := newTable().ReadFile(path); mistakes != nil {
		t.Error(mistakes)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, mistakes := newTable().ReadFile(path); len(mistakes) != 1 || strings.Contains(mistakes[0], "7 ") {
		t.Errorf("the group reads it, and is told of as %q", mistakes)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("shelf-count: 2\nnames: [a, b]\nopen: true\n")
	f.Add("a: &a [*a]")
	f.Add("\x00: ~\n? [a]\n: b")
	f.Fuzz(func(t *testing.T, text string) {
		values, mistakes := newTable().parse("f", []byte(text))
		for name := range values {
			if _, known := newTable().find(name); !known {
				t.Errorf("%q sets %q", text, name)
			}
		}
		for _, mistake := range mistakes {
			if !strings.HasPrefix(mistake, "f") {
				t.Errorf("%q: %q does not say where", text, mistake)
			}
		}
	})
}
