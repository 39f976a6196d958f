package archtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDecisionsAreListed: a page that the list of decisions does not name, nobody finds. It names each by its title.
func TestDecisionsAreListed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(rootDir(t, packages(t)), "docs", "decisions")
	pages, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil || len(pages) < 2 {
		t.Fatalf("%s has the pages %q (%v)", dir, pages, err)
	}
	list, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	links := strings.Count(string(list), "](")
	if links != len(pages)-1 {
		t.Errorf("the list of decisions names %d pages, and there are %d", links, len(pages)-1)
	}
	for _, page := range pages {
		name := filepath.Base(page)
		if name == "README.md" {
			continue
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		title, _, _ := strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
		if link := "- [" + title + "](" + name + ")"; !strings.Contains(string(list), link+"\n") {
			t.Errorf("the list of decisions lacks %s", link)
		}
	}
}
