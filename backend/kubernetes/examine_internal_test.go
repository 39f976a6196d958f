package kubernetes

import (
	"os"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestRightsAreThePages holds what doctor asks for to what the page tells operators to give, and the manifests by which
// Backstay runs in a cluster to the same.
func TestRightsAreThePages(t *testing.T) {
	t.Parallel()
	page, manifests := "../../docs/kubernetes.md", "../../deploy/kubernetes/rights.yaml"
	given := rightsOf(t, page, "Role")
	var asked []string
	for _, r := range rights {
		for _, verb := range r.verbs {
			asked = append(asked, r.resource.Group+" "+strings.TrimSuffix(r.resource.Resource+"/"+r.part, "/")+"  "+verb)
		}
	}
	slices.Sort(asked)
	if !slices.Equal(given, asked) || len(given) < 20 {
		t.Errorf("the page gives\n%q\nand doctor asks for\n%q", given, asked)
	}
	for _, kind := range []string{"Role", "ClusterRole"} {
		want := rightsOf(t, page, kind)
		if got := rightsOf(t, manifests, kind); !slices.Equal(got, want) || len(got) == 0 {
			t.Errorf("the manifests' %s gives\n%q\nand the page's\n%q", kind, got, want)
		}
	}
}

// rightsOf reads what the first object of a kind gives, in a file with manifests: group, resource, name and verb.
func rightsOf(t *testing.T, file, kind string) (given []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nkind: "+kind+"\n")
	document, _, _ := strings.Cut(rest, "\n---\n")
	var role struct {
		Rules []struct {
			APIGroups     []string `yaml:"apiGroups"`
			Resources     []string
			ResourceNames []string `yaml:"resourceNames"`
			Verbs         []string
		}
	}
	if err := yaml.Unmarshal([]byte(document), &role); err != nil {
		t.Fatal(err)
	}
	for _, rule := range role.Rules {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				given = append(given, rule.APIGroups[0]+" "+resource+" "+strings.Join(rule.ResourceNames, ",")+" "+verb)
			}
		}
	}
	slices.Sort(given)
	return given
}
