package main

import (
	"strings"
	"testing"

	"github.com/backstay/backstay/cgroup"
)

// TestDoctorSaysWhatIsLimited, and why nothing is.
func TestDoctorSaysWhatIsLimited(t *testing.T) {
	t.Parallel()
	if found := examineLimits(true, "/"); len(found) != 1 || found[0].level != fair ||
		!strings.Contains(found[0].state, "--limits is off") {
		t.Errorf("with --limits off it says %+v", found)
	}
	found := examineLimits(false, "/")
	groups, why := cgroup.Open("doctor-test")
	switch {
	case why != nil && (len(found) != 1 || found[0].level != fair || !strings.Contains(found[0].state, "nothing keeps")):
		t.Errorf("where nothing can be limited (%v) it says %+v", why, found)
	case why == nil && (len(found) != 2 || len(groups.Controls()) > 0 && !strings.Contains(found[0].state, "by plan")):
		t.Errorf("where %v can be limited it says %+v", groups.Controls(), found)
	}
}
