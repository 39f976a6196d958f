package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay/internal/testkit"
)

// TestPlansAreServed buys plans of the built-in catalog, with what that keeps off sale put on it: others in each run, of
// each engine. Together they promise more storage than a small machine has.
func TestPlansAreServed(t *testing.T) {
	t.Parallel()
	p := start(t, "backstay", "--catalog", everythingOnSale(t), "--overcommit", "1000")
	for _, of := range breeds {
		for _, plan := range testkit.Drawn(t, p.plans(of.offering)) {
			t.Run(of.name+"/"+plan, func(t *testing.T) {
				of := of
				of.plan = plan
				l := &life{ward: &ward{platform: p, breed: of}, t: t, name: of.name + "-" + plan}
				l.space, l.app = l.settle()
				l.create()
				l.bind()
				l.keep()
				if !l.serves() {
					t.Error("what was kept is not found")
				}
				l.unbind() // the memory of instances of two is promised: not all of them have room at once
				l.remove("/v3/service_instances/"+l.instance, "/v3/service_instances?guids="+l.instance)
			})
		}
	}
}

// everythingOnSale is the built-in catalog, changed as its own words say.
func everythingOnSale(t *testing.T) (path string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "broker", "catalog.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	opened := bytes.ReplaceAll(text, []byte("private: true"), []byte("private: false"))
	if bytes.Equal(opened, text) {
		t.Fatal("the catalog keeps nothing off sale")
	}
	path = filepath.Join(t.TempDir(), "catalog.yaml")
	if err := os.WriteFile(path, opened, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// plans are the names of an offering's plans.
func (p *platform) plans(offering string) (names []string) {
	p.t.Helper()
	var found struct{ Resources []struct{ Name string } }
	if _, _, err := p.call("GET", fmt.Sprintf("/v3/service_plans?service_offering_names=%s", offering), nil,
		&found); err != nil {
		p.t.Fatal(err)
	}
	for _, plan := range found.Resources {
		names = append(names, plan.Name)
	}
	if len(names) < 4 {
		p.t.Errorf("%s has the plans %v, want one for each size", offering, names)
	}
	return names
}
