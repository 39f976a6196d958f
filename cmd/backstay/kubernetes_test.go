package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/backend/kubernetes"
)

func TestParseAnnotations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string]string{
		"example.org/scope=internal":              {"example.org/scope": "internal"},
		"a.example/x=1, b.example/Y-z=k=v":        {"a.example/x": "1", "b.example/Y-z": "k=v"},
		"service.beta.kubernetes.io/aws-lb-type=": {"service.beta.kubernetes.io/aws-lb-type": ""},
		"internal":                                  nil,
		"a.example/x=1,":                            nil,
		"=internal":                                 nil,
		"a b=internal":                              nil,
		"example.org/" + strings.Repeat("x", 64):    nil,
		"example.org/too/much=internal":             nil,
		"example.org/scope=internal,example.org/=1": nil,
	} {
		got, err := parseAnnotations(text)
		if (err != nil) != (want == nil) || !maps.Equal(got, want) {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
}

// TestOneWayIn: an instance is reached by the machines' ports or by a load balancer.
func TestOneWayIn(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := cluster{kubeconfig: file, exposure: kubernetes.Exposure{Host: "nodes.example.org", Domain: "databases.example.org"}}
	if _, err := c.read(); err == nil || !strings.Contains(err.Error(), "exclude each other") {
		t.Errorf("both ways: %v", err)
	}
}
