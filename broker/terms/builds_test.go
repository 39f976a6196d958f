package terms_test

import (
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/terms"
)

const (
	on186 = "2.7.0 on PostgreSQL 18.6 with DocumentDB 1.0-0"
	on187 = "2.7.0 on PostgreSQL 18.7 with DocumentDB 1.0-0"
	on190 = "2.7.0 on PostgreSQL 19.0 with DocumentDB 1.0-0"
)

// layered is a plan of what stands on PostgreSQL, with these builds installed.
func layered(builds ...string) terms.Plan {
	return *other("tiny", func(p *terms.Plan) {
		p.Engine, p.Version, p.Builds = "mongodb", "2", terms.Builds{"2": builds}
	})
}

// TestUpgradesKeepTheFoundation: an instance is upgraded to the newest build that serves its data, and a new one has the
// newest of all.
func TestUpgradesKeepTheFoundation(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		installed []string
		serving   string
		want      string
	}{
		{"a minor version", []string{on187}, on186, on187},
		{"another major version alone", []string{on190}, on186, on186},
		{"both", []string{on190, on187}, on186, on187},
		{"both, where it has the newest", []string{on190, on187}, on187, on187},
		{"both, where it stands on the newer", []string{on190, on187}, on190, on190},
		{"DocumentDB's", []string{"2.7.0 on PostgreSQL 18.6 with DocumentDB 1.1-0"}, on186,
			"2.7.0 on PostgreSQL 18.6 with DocumentDB 1.1-0"},
		{"only an older one", []string{on186}, on187, on187},
		{"nothing", nil, on186, on186},
	} {
		plan := layered(tc.installed...)
		agreed, err := plan.New(nil, 1)
		if err != nil || agreed.Spec.Build != strings.Join(tc.installed[:min(1, len(tc.installed))], "") {
			t.Errorf("%s: a new one gets %q, %v", tc.name, agreed.Spec.Build, err)
		}
		before := terms.Accepted{Spec: agreed.Spec, Windows: agreed.Windows, Build: tc.serving}
		before.Spec.Build = tc.serving
		for _, change := range []terms.Change{{Upgrade: true}, {Parameters: raw(`{"update_minor_version_to_latest":true}`)}} {
			agreed, err := plan.Change(before, change)
			if err != nil || agreed.Spec.Build != tc.want || agreed.Changes(before) != (tc.want != tc.serving) {
				t.Errorf("%s: agreed on %q, %v; want %q", tc.name, agreed.Spec.Build, err, tc.want)
			}
		}
	}
}

// TestRestoresKeepTheFoundation: what was made on a PostgreSQL is restored on that one, or refused with what is missing.
func TestRestoresKeepTheFoundation(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		installed []string
		made      string
		want      string
		words     string
	}{
		{"its own", []string{on190, on186}, on186, on186, ""},
		{"a newer one", []string{on190, on187}, on186, on187, ""},
		{"not known which", []string{on190, on187}, "2", on190, ""},
		{"another alone", []string{on190}, on186, "", "The data of service instance source was made by " + on186 +
			", and what is installed is " + on190 + ": data is restored on PostgreSQL 18, with the same or a newer minor version."},
		{"older ones alone", []string{on190, on186}, on187, "", "and what is installed is " + on190 + " and " + on186 + ": "},
		{"nothing is known", nil, on186, on186, ""},
		{"what stands on nothing", []string{"2.19.4"}, "2.19.5", "", "runs version 2.19.5, and the newest that is installed is 2.19.4"},
	} {
		plan := layered(tc.installed...)
		from := terms.Source{ID: "source", Engine: plan.Engine, Build: tc.made, Storage: backstay.GB, BackedUp: true}
		build, err := plan.BeginFrom(terms.Origin{Kind: terms.Clone}, from)
		if build != tc.want {
			t.Errorf("%s: it begins with %q, want %q", tc.name, build, tc.want)
		}
		refused(t, err, backstay.Unsupported, tc.words)
	}
}
