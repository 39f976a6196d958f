package kubernetes_test

import (
	"strings"
	"testing"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/internal/testkit"
)

// TestImageThatDoesNotCome has instances of one node and of two be upgraded to an image that the cluster cannot get: they
// serve again with the one before, and are upgraded to another one.
func TestImageThatDoesNotCome(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	l := newLab(t)
	c := l.config(t, 30470, 30479)
	c.Images = append([]kubernetes.Image{{
		Engine: "postgres", Version: "15", FullVersion: "15.99", Name: "backstay.invalid/postgres:15.99",
	}}, c.Images...)
	b, _ := run(t, c)
	for _, nodes := range []int{1, 2} {
		s := l.spec(t, nodes)
		s.Build = "15.18"
		mustApply(t, b, s)
		t.Cleanup(func() { removed(t, b, s.Instance) })
		until(t, b, s.Instance, "the instance", guarded(1, nodes))
		uri := l.table(t, b, s) + "?sslmode=require"
		s.Generation, s.Build = 2, "15.99"
		mustApply(t, b, s)
		st := until(t, b, s.Instance, "the end of the upgrade", func(st backend.Status) bool {
			return st.Obstacle.Final && guarded(1, nodes)(st)
		})
		if !strings.Contains(st.Obstacle.Sentence, "cannot get the image backstay.invalid/postgres:15.99") ||
			st.Build != "15.18" {
			t.Errorf("an image that does not come is told as %+v", st)
		}
		conn := archived{lab: l}.again(t, uri)
		wantVersion(t, conn, "15.18")
		do(t, conn, "INSERT INTO acknowledged VALUES (1)")
		s.Generation, s.Build = 3, "15.20"
		mustApply(t, b, s)
		until(t, b, s.Instance, "another upgrade", guarded(3, nodes))
		wantVersion(t, archived{lab: l}.again(t, uri), "15.20")
	}
}
