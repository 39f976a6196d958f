package kubernetes

import (
	"testing"
	"time"
)

// TestAnImageIsGivenUpAlone: what was asked for behind it, and has just been accepted, is not given up with it.
func TestAnImageIsGivenUpAlone(t *testing.T) {
	t.Parallel()
	for _, overtaken := range []bool{false, true} {
		c := newFakeCluster()
		b := c.backend(t)
		s := serving(1).newer()
		s.wish.image.Name, s.record.Image = "pg:15.20", "pg:15.18"
		s.view.Nodes = []pod{{Name: "a-1", Image: "pg:15.20", Lacking: true}}
		s.view.Image = "pg:15.20"
		now := s.record
		if overtaken {
			now.Spec.Generation++
		}
		in := c.holding(t, b, now)
		in.hindered = time.Now().Add(-time.Hour)
		if _, err := in.watchImage(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if in.record.givenUp() == overtaken {
			t.Errorf("another one was accepted: %t, and what is wanted is given up: %+v", overtaken, in.record.Lacks)
		}
	}
}
