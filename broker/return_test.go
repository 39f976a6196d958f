package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestReturnInPlace: an instance returns to a second of its own, and its bindings, also one that was made since, go on
// as they are.
func TestReturnInPlace(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	c := keepertest.Config(t, 2)
	c.Repository = backstay.Repository{Dir: filepath.Join(t.TempDir(), "repository")}
	must(t, os.Mkdir(c.Repository.Dir, 0o700))
	instances, _ := keepertest.Run(t, c)
	h := newHouse(t, instances)
	h.run(t)
	r := h.serve(t)
	_, before := h.bind(t, r)
	tell(t, before, "CREATE TABLE kept AS SELECT 1 AS n")
	if op := h.updateMade(t, r, `{"backup": "now"}`); op.State != backstay.Succeeded {
		t.Fatalf("the backup ended as %+v", op)
	}
	tell(t, before, "UPDATE kept SET n = 2")
	moment := time.Now().Truncate(time.Second).Add(time.Second) // the first that has the 2
	passed(t, moment)
	tell(t, before, "UPDATE kept SET n = 3")
	_, since := h.bind(t, r)

	op := h.updateMade(t, r, fmt.Sprintf(`{"restore_to_point_in_time": %q}`, moment.UTC().Format(time.DateTime)))
	if op.Type != backstay.Update || op.State != backstay.Succeeded {
		t.Fatalf("the return ended as %+v", op)
	}
	for _, binding := range []backstay.Credentials{before, since} {
		if n := ask(t, binding, "SELECT n::text FROM kept"); n != "2" {
			t.Errorf("it has %s, want 2", n)
		}
	}
	tell(t, since, "UPDATE kept SET n = 4")
}

// passed waits for a time that is at most seconds away, and the second after it.
func passed(t *testing.T, at time.Time) {
	t.Helper()
	if err := wait.Pause(t.Context(), time.Until(at.Add(time.Second))); err != nil {
		t.Fatal(err)
	}
}
