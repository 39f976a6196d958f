package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
)

// secrets are the types that do not print. The JSON of those that are true is their real value.
var secrets = map[string]bool{
	"backstay.Secret": true, "backstay.Credentials": true, "seal.Key": false,
}

// TestWhatCarriesSecretsDoesNotPrint holds structs to what keeps their secrets out of logs. One that a
// handler could encode as JSON, with a secret in an exported field, has a LogValue; and no secret lies in an
// unexported field, where package fmt does not find the methods that redact it.
func TestWhatCarriesSecretsDoesNotPrint(t *testing.T) {
	t.Parallel()
	structs, logged := structsOf(t)
	carriers := map[string]bool{}
	for name, shown := range secrets {
		carriers[name] = shown
	}
	for found := true; found; { // a struct that has a carrier among its fields is one
		found = false
		for name, fields := range structs {
			if !carriers[name] && fields.lead(carriers) {
				carriers[name], found = true, true
			}
		}
	}
	for name, fields := range structs {
		_, typeName, _ := strings.Cut(name, ".")
		if carriers[name] && ast.IsExported(typeName) && !logged[name] {
			t.Errorf("%s carries a secret: give it a LogValue that is backstay.RedactedValue", name)
		}
		for _, secret := range fields.hidden {
			if _, ok := secrets[secret]; ok {
				t.Errorf("%s has a %s in an unexported field, where fmt prints it in clear: export the field", name, secret)
			}
		}
	}
	if len(carriers) < 6 {
		t.Errorf("only %v carry secrets", carriers)
	}
}

// TestLogsAreText keeps JSON handlers out: they encode what carries secrets below a slice or a map, where
// nobody asks for a LogValue. A text handler prints by fmt, at every depth.
func TestLogsAreText(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, name := range p.files() {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(text, []byte("slog.NewJSONHandler")) && !strings.HasSuffix(name, "_test.go") {
				t.Errorf("%s makes a JSON handler, which would print secrets", name)
			}
		}
	}
}

// fields are the types that a struct's fields are made of, by whether JSON sees the field.
type fields struct{ shown, hidden []string }

func (f *fields) lead(carriers map[string]bool) bool {
	for _, name := range f.shown {
		if carriers[name] {
			return true
		}
	}
	return false
}

// structsOf returns the structs of all rooms as "package.Type", and which types have a LogValue.
func structsOf(t *testing.T) (structs map[string]*fields, logged map[string]bool) {
	t.Helper()
	structs, logged = map[string]*fields{}, map[string]bool{}
	for _, p := range packages(t) {
		if isForTests(p.path()) {
			continue
		}
		for _, name := range p.files() {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			r := resolver{p.Name, importNames(file)}
			for _, decl := range file.Decls {
				r.collect(decl, structs, logged)
			}
		}
	}
	return structs, logged
}

// resolver gives the types in one file their names in the whole tree.
type resolver struct {
	own     string
	imports map[string]string
}

func importNames(file *ast.File) map[string]string {
	names := map[string]string{}
	for _, i := range file.Imports {
		full, _ := strconv.Unquote(i.Path.Value)
		name := path.Base(full)
		if i.Name != nil {
			names[i.Name.Name] = name
		}
		names[name] = name
	}
	return names
}

func (r resolver) collect(decl ast.Decl, structs map[string]*fields, logged map[string]bool) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv != nil && d.Name.Name == "LogValue" {
			for _, name := range r.names(d.Recv.List[0].Type) {
				logged[name] = true
			}
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			s, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			if made, ok := s.Type.(*ast.StructType); ok {
				structs[r.own+"."+s.Name.Name] = r.fields(made)
			}
		}
	}
}

func (r resolver) fields(made *ast.StructType) *fields {
	f := &fields{}
	for _, field := range made.Fields.List {
		types := r.names(field.Type)
		if len(field.Names) == 0 {
			f.shown = append(f.shown, types...)
		}
		for _, name := range field.Names {
			if name.IsExported() {
				f.shown = append(f.shown, types...)
			} else {
				f.hidden = append(f.hidden, types...)
			}
		}
	}
	return f
}

// names are the named types that a type is made of. What a function takes or returns is no part of it.
func (r resolver) names(expr ast.Expr) []string {
	switch e := expr.(type) {
	case *ast.Ident:
		return []string{r.own + "." + e.Name}
	case *ast.SelectorExpr:
		if pkg, ok := e.X.(*ast.Ident); ok {
			return []string{r.imports[pkg.Name] + "." + e.Sel.Name}
		}
	case *ast.StarExpr:
		return r.names(e.X)
	case *ast.ArrayType:
		return r.names(e.Elt)
	case *ast.MapType:
		return append(r.names(e.Key), r.names(e.Value)...)
	case *ast.IndexExpr:
		return append(r.names(e.X), r.names(e.Index)...)
	case *ast.StructType:
		f := r.fields(e)
		return append(f.shown, f.hidden...)
	}
	return nil
}
