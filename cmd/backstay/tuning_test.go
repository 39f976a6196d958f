package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/engine"
)

// documented are the versions whose settings docs/settings.md lists.
var documented = []struct{ name, title, version string }{
	{"postgres", "PostgreSQL", "15"}, {"mysql", "MySQL and MariaDB", "10.11"}, {"redis", "Redis and Valkey", "7.0"},
	{"mongodb", "MongoDB (FerretDB)", "2"},
	{"opensearch", "Elasticsearch (OpenSearch)", "2"},
}

// TestSettingsPage holds docs/settings.md to the engines' tables; go test ./cmd/backstay -update writes it.
func TestSettingsPage(t *testing.T) {
	t.Parallel()
	engines := new(config).engines()
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(settingsIntro, "~", "`"))
	for _, d := range documented {
		fmt.Fprintf(&b, "\n## %s\n\n| setting | takes | if you say nothing | is |\n|---|---|---|---|\n", d.title)
		tuning := engines[d.name].(engine.Tunable).Tuning(engine.Installation{Version: d.version})
		slices.SortFunc(tuning, func(x, y engine.Setting) int { return cmp.Compare(x.Name, y.Name) })
		for _, s := range tuning {
			if s.Meaning == "" || !strings.HasSuffix(s.Meaning, ".") {
				t.Errorf("%s: %s does not say what it is", d.name, s.Name)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.Name, s.Range(), cmp.Or(s.Default, "–"), meaning(s))
		}
	}
	page := filepath.Join("..", "..", "docs", "settings.md")
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != b.String() {
		t.Errorf("docs/settings.md is not what the engines say (%v): go test ./cmd/backstay -update", err)
	}
}

func meaning(s engine.Setting) string {
	if s.Restart {
		return s.Meaning + " **A change restarts the server.**"
	}
	return s.Meaning
}

// settingsIntro has ~ where the page has `.
const settingsIntro = `# Settings of the engines

What the parameter ~settings~ takes, of ~cf create-service~ and ~cf update-service~:

~~~
cf update-service my-pg -c '{"settings": {"work_mem": "16MB", "jit": true}}'
~~~

Settings stay as they are chosen, also over changes of the plan; ~null~ gives one its default again. They hold at once, and
nobody is disconnected, unless the table says that a change restarts the server. PostgreSQL's hold in sessions that are
there already, MySQL's in those that begin later. A value that is out of range, or with which the server would not start,
is refused together with all else that the command asks for.

Sizes and times have a unit: ~64kB~, ~16MB~, ~2GB~; ~500ms~, ~30s~, ~5min~, ~2h~, ~1d~. How much a part of the plan's memory
is, the plan's schema says (~cf curl /v3/service_plans/GUID~). Settings that name files, programs or libraries, that have
statements logged, or that would lose more than the last second are not there.

This page is made from the engines' tables, ~engine/*/tuning.go~.
`
