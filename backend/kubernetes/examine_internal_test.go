package kubernetes

import (
	"os"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestRightsAreThePages holds what doctor asks for to what the page tells operators to give.
func TestRightsAreThePages(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\nkind: Role\n")
	document, _, _ := strings.Cut(rest, "\n---\n")
	var role struct {
		Rules []struct {
			APIGroups []string `yaml:"apiGroups"`
			Resources []string
			Verbs     []string
		}
	}
	if err := yaml.Unmarshal([]byte(document), &role); err != nil {
		t.Fatal(err)
	}
	var given, asked []string
	for _, rule := range role.Rules {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				given = append(given, rule.APIGroups[0]+" "+resource+" "+verb)
			}
		}
	}
	for _, r := range rights {
		for _, verb := range r.verbs {
			asked = append(asked, r.resource.Group+" "+strings.TrimSuffix(r.resource.Resource+"/"+r.part, "/")+" "+verb)
		}
	}
	slices.Sort(given)
	slices.Sort(asked)
	if !slices.Equal(given, asked) || len(given) < 20 {
		t.Errorf("the page gives\n%q\nand doctor asks for\n%q", given, asked)
	}
}
