package kubernetes_test

import (
	"encoding/json"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
)

// TestPasswordsAreNotTold: the operator tells the server the administrator's password by a statement, and tenants may read
// what others ask. Neither what counts statements nor what shows those of now has it, and what counts them is not to be had.
func TestPasswordsAreNotTold(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	l := newLab(t)
	b, _ := run(t, l.config(t, 30970, 30972))
	t.Cleanup(func() { l.wantNothing(t) })
	spec := l.spec(t, 1)
	l.serve(t, b, spec)
	conn, err := l.open(t.Context(), l.table(t, b, spec)+"?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var counts bool
	var told int
	const query = "SELECT current_setting('pg_stat_statements.max', true) IS NOT NULL, " +
		"(SELECT count(*) FROM pg_stat_activity WHERE usename = 'postgres' AND query <> '')"
	if err := conn.QueryRow(t.Context(), query).Scan(&counts, &told); err != nil {
		t.Fatal(err)
	}
	if counts || told != 0 {
		t.Errorf("statements are counted: %t; %d of the administrator's are shown", counts, told)
	}
	if _, err := conn.Exec(t.Context(), "CREATE EXTENSION pg_stat_statements"); err == nil {
		t.Error("a tenant has made what counts statements")
	}

	spec.Generation++
	for _, extension := range []string{"pg_stat_statements", "postgis"} { // the images have no PostGIS
		spec.Settings = json.RawMessage(`{"enable_extensions": ["` + extension + `"]}`)
		err := b.Admit(t.Context(), spec)
		if kind := backstay.KindOf(err); kind != backstay.Invalid && kind != backstay.Unsupported {
			t.Errorf("Admit of %s: %v", extension, err)
		}
	}
	fresh := l.spec(t, 1)
	fresh.Settings = spec.Settings
	mustApply(t, b, fresh)
	t.Cleanup(func() { removed(t, b, fresh.Instance) })
	until(t, b, fresh.Instance, "the failure of one that needs PostGIS", func(st backend.Status) bool {
		return st.Obstacle.Generation == fresh.Generation && st.Obstacle.Final
	})
}
