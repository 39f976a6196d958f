package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMistakesOfACatalogNameItsFile: an operator may have several.
func TestMistakesOfACatalogNameItsFile(t *testing.T) {
	t.Parallel()
	c := &config{catalog: filepath.Join(t.TempDir(), "ours.yaml")}
	if err := os.WriteFile(c.catalog, []byte("curency: GBP\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := c.loadCatalog()
	want := c.catalog + `: catalog: line 1: "curency" is no key of the catalog; "currency" is meant, perhaps`
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v; want %s", err, want)
	}
}

// TestKubeconfigIsReadFirst: before the state database is started, and with what it names.
func TestKubeconfigIsReadFirst(t *testing.T) {
	t.Parallel()
	write := func(text string) string {
		file := filepath.Join(t.TempDir(), "kubeconfig")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const form = `{apiVersion: v1, kind: Config, current-context: a,
contexts: [{name: a, context: {cluster: a, user: a}}],
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"}}],
users: [{name: a, user: {%s}}]}`
	for name, tc := range map[string]struct{ file, want string }{
		"sound":         {write(fmt.Sprintf(form, "token: t")), ""},
		"absent":        {filepath.Join(t.TempDir(), "none"), "no such file"},
		"no kubeconfig": {write("- 1"), "cannot be used"},
		"no context":    {write("{apiVersion: v1, kind: Config}"), "cannot be used"},
		"a lost key": {write(fmt.Sprintf(form, "client-certificate: /none/c.pem, client-key: /none/k.pem")),
			"/none/c.pem"},
	} {
		c := &config{endpointListen: "127.0.0.1", kubernetes: cluster{kubeconfig: tc.file}}
		g, err := readGiven(c, time.Now())
		switch {
		case tc.want == "" && (err != nil || g.cluster == nil):
			t.Errorf("%s: %v", name, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), tc.file)):
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
