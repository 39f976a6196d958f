package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/backstay/backstay"

// goPackage is a package of this module as "go list" tells of it.
type goPackage struct {
	Dir         string
	ImportPath  string
	Name        string
	GoFiles     []string
	TestGoFiles []string // of the package itself and, as go list tells them apart, …
	XTestGo     []string `json:"XTestGoFiles"` // … of its black-box tests
	Imports     []string // not those of tests
}

// path is the package's directory in the module, "" for the root.
func (p goPackage) path() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// files are the package's source files, or its tests if it has nothing else.
func (p goPackage) files() []string {
	names := p.GoFiles
	if len(names) == 0 {
		names = append(p.TestGoFiles, p.XTestGo...)
	}
	files := make([]string, len(names))
	for i, name := range names {
		files[i] = filepath.Join(p.Dir, name)
	}
	return files
}

// ours cuts the module's path off an import; ok is false for an import of somebody else's.
func ours(importPath string) (path string, ok bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

var list = sync.OnceValues(func() ([]goPackage, error) {
	cmd := exec.Command("go", "list", "-e", "-json=Dir,ImportPath,Name,GoFiles,TestGoFiles,XTestGoFiles,Imports",
		module+"/...")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var all []goPackage
	for d := json.NewDecoder(out); ; {
		var p goPackage
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all, cmd.Wait()
		}
		if err != nil {
			return nil, errors.Join(err, cmd.Wait())
		}
		all = append(all, p)
	}
})

func packages(t *testing.T) []goPackage {
	t.Helper()
	all, err := list()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if len(all) == 0 {
		t.Fatal("go list found no packages")
	}
	return all
}
