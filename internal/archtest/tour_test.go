package archtest

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// quoted finds code names in prose: `pkg.Func`, `pkg.Type.Method`, `dir/pkg.Func`, with or without ().
var quoted = regexp.MustCompile("`([a-z][a-z0-9_/-]*)\\.([A-Za-z]\\w*(?:\\.[A-Za-z]\\w*)?)(?:\\(\\))?`")

// extensions tell the name of a file from the name of a thing in a package.
var extensions = map[string]bool{"go": true, "md": true, "sql": true, "yaml": true, "json": true, "sock": true,
	"pid": true, "log": true, "conf": true, "txtar": true, "mod": true}

// TestTourNamesWhatExists holds docs/tour.md to the code. A name that starts with a package of ours,
// or with one we do not import, must be declared there.
func TestTourNamesWhatExists(t *testing.T) {
	t.Parallel()
	all := packages(t)
	tour, err := os.ReadFile(filepath.Join(rootDir(t, all), "docs", "tour.md"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("docs/tour.md is not written yet")
	}
	if err != nil {
		t.Fatal(err)
	}
	names, foreign := declared(t, all), imported(all)
	checked := 0
	for _, match := range quoted.FindAllStringSubmatch(string(tour), -1) {
		pkg, thing := match[1], match[2]
		if extensions[thing] || names[pkg] == nil && foreign[pkg] {
			continue
		}
		checked++
		if !names[pkg][thing] {
			t.Errorf("docs/tour.md names %s, which does not exist", match[0])
		}
	}
	if checked == 0 {
		t.Error("docs/tour.md names nothing in the code")
	}
}

func TestDeclaredNames(t *testing.T) {
	t.Parallel()
	names := declared(t, packages(t))
	for _, tc := range []struct {
		pkg, thing string
		want       bool
	}{
		{"backstay", "Errorf", true},
		{"backstay", "InstanceBroker.Provision", true},
		{"backstay", "Kind.String", true},
		{"backstay", "Busy", true},
		{"backend", "Spec.Generation", true},
		{"cmd/backstay", "main", true},
		{"backstay", "InstanceBroker.Fly", false},
		{"backstay", "Fly", false},
	} {
		if got := names[tc.pkg][tc.thing]; got != tc.want {
			t.Errorf("%s.%s: declared %t, want %t", tc.pkg, tc.thing, got, tc.want)
		}
	}
}

func rootDir(t *testing.T, all []goPackage) string {
	t.Helper()
	for _, p := range all {
		if p.path() == "" {
			return p.Dir
		}
	}
	t.Fatal("go list did not name the root package")
	return ""
}

// imported are the last parts of all imports that are not ours.
func imported(all []goPackage) map[string]bool {
	names := map[string]bool{}
	for _, p := range all {
		for _, i := range p.Imports {
			if _, ok := ours(i); !ok {
				names[path.Base(i)] = true
				if dir, last := path.Split(i); strings.HasPrefix(last, "v") {
					names[path.Base(dir)] = true
				}
			}
		}
	}
	return names
}

// declared lists what each package of ours declares, under the package's name and its path.
func declared(t *testing.T, all []goPackage) map[string]map[string]bool {
	t.Helper()
	names := map[string]map[string]bool{}
	for _, p := range all {
		things := map[string]bool{}
		for _, file := range p.files() {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range f.Decls {
				collect(decl, things)
			}
		}
		names[p.path()] = things
		if p.Name != "main" {
			names[p.Name] = things
		}
	}
	return names
}

func collect(decl ast.Decl, things map[string]bool) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		things[receiver(d)+d.Name.Name] = true
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				for _, n := range s.Names {
					things[n.Name] = true
				}
			case *ast.TypeSpec:
				things[s.Name.Name] = true
				for _, field := range fieldsOf(s.Type) {
					things[s.Name.Name+"."+field] = true
				}
			}
		}
	}
}

// receiver is the prefix that a method's name has: "Type.", or "" for a function.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	for {
		switch t := of.(type) {
		case *ast.StarExpr:
			of = t.X
		case *ast.IndexExpr:
			of = t.X
		case *ast.IndexListExpr:
			of = t.X
		case *ast.Ident:
			return t.Name + "."
		default:
			return ""
		}
	}
}

// fieldsOf names the fields of a struct and the methods of an interface.
func fieldsOf(e ast.Expr) []string {
	var list *ast.FieldList
	switch t := e.(type) {
	case *ast.StructType:
		list = t.Fields
	case *ast.InterfaceType:
		list = t.Methods
	default:
		return nil
	}
	var names []string
	for _, field := range list.List {
		for _, n := range field.Names {
			names = append(names, n.Name)
		}
	}
	return names
}
