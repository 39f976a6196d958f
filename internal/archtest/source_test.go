package archtest

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"
)

// maxLines is where a file has long since become two. It is a backstop, not an aim.
const maxLines = 500

// maxColumns is what two files side by side leave for a line. Rows of a table in a test may be longer.
const maxColumns = 120

func TestEveryPackageHasOneDocComment(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		documented := 0
		for _, file := range p.files() {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Error(err)
				continue
			}
			if f.Doc != nil {
				documented++
			}
		}
		if documented != 1 {
			t.Errorf("%s has %d package comments, want 1: what it is for and what may not enter", name(p.path()), documented)
		}
	}
}

func TestFilesStayReadable(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, file := range p.files() {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(text, []byte("\n")); n > maxLines {
				t.Errorf("%s has %d lines, more than %d: it holds two things", file, n, maxLines)
			}
		}
	}
}

func TestLinesEnd(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			number := 0
			for line := range bytes.Lines(text) {
				number++
				if columns := utf8.RuneCount(bytes.TrimSuffix(line, []byte("\n"))); columns > maxColumns {
					t.Errorf("%s/%s:%d has %d columns, more than %d", p.path(), name, number, columns, maxColumns)
				}
			}
		}
	}
}
