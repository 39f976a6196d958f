package mysql_test

import (
	"slices"
	"testing"

	"github.com/backstay/backstay/engine/enginetest"
)

// TestDrillIsApart: bindings neither see nor reach what a drill writes.
func TestDrillIsApart(t *testing.T) {
	t.Parallel()
	s := serve(t)
	b := s.bind(t)
	enginetest.BeginDrill(t, tested, s.Node)
	db, err := open(b.credentials)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SHOW DATABASES")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var seen []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, name)
	}
	if err := rows.Err(); err != nil || !slices.Contains(seen, "main") || slices.Contains(seen, "backstay_drill") {
		t.Errorf("a binding sees the databases %q (%v)", seen, err)
	}
	for _, statement := range []string{"SELECT * FROM backstay_drill.kept", "DROP DATABASE backstay_drill"} {
		if _, err := db.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("a binding may say %s", statement)
		}
	}
}
