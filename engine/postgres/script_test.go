package postgres_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/postgres"
)

var (
	saysNothing    = regexp.MustCompile(`(?ms)--[^\n]*|/\*.*?\*/|^\\[^\n]*|'[^'\n]*'`) // to the server
	firstCommand   = regexp.MustCompile(`(?mi)^\s*CREATE\s`)
	callByName     = regexp.MustCompile(`(?i)([a-z_][a-z0-9_.]*)\s*\(`)
	defaultVersion = regexp.MustCompile(`(?m)^default_version\s*=\s*'([^']*)'`)
)

// TestScriptsCallNothingBeforeTheirFirstCommand is what walls.sql relies on: at the first command of an extension's
// script it looks whether a tenant's function could be called by it. It is about every extension on this machine that
// a tenant may begin to create.
func TestScriptsCallNothingBeforeTheirFirstCommand(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, postgres.Engine{})
	share := filepath.Join("/usr/share/postgresql", n.Installation.Version, "extension")
	controls, err := filepath.Glob(filepath.Join(share, "*.control"))
	if err != nil || len(controls) == 0 {
		t.Fatalf("no extensions: %v", err)
	}
	looked := 0
	for _, path := range controls {
		name := strings.TrimSuffix(filepath.Base(path), ".control")
		control := readText(t, path)
		if !strings.Contains(control, "trusted = true") && !slices.Contains(postgres.Extensions(), name) {
			continue
		}
		looked++
		for _, script := range scriptsOf(t, path, name, defaultVersion.FindStringSubmatch(control)[1]) {
			text := saysNothing.ReplaceAllString(readText(t, script), "")
			begin := firstCommand.FindStringIndex(text)
			if begin == nil {
				t.Errorf("%s creates nothing", script)
				continue
			}
			for _, call := range callByName.FindAllStringSubmatch(text[:begin[0]], -1) {
				if !strings.HasPrefix(call[1], "pg_catalog.") {
					t.Errorf("%s calls %s before its first command", script, call[1])
				}
			}
		}
	}
	if looked < 10 {
		t.Errorf("only %d of %v were looked at", looked, controls)
	}
}

// scriptsOf are those that make the extension from nothing: that of its version or, where updates lead to
// that, all that there are.
func scriptsOf(t *testing.T, control, name, version string) []string {
	t.Helper()
	dir := filepath.Dir(control)
	whole := filepath.Join(dir, name+"--"+version+".sql")
	if _, err := os.Stat(whole); err == nil {
		return []string{whole}
	}
	all, err := filepath.Glob(filepath.Join(dir, name+"--*.sql"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(path string) bool {
		return strings.Count(filepath.Base(path), "--") != 1 || strings.HasSuffix(path, "--unpackaged.sql")
	})
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
