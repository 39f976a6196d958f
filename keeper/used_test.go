package keeper_test

import (
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestUsedFollowsTheData: what an instance stores is told at once, and of one that there is not, nothing.
func TestUsedFollowsTheData(t *testing.T) {
	t.Parallel()
	b, _ := keepertest.Run(t, keepertest.Config(t, 1))
	spec := mustApply(t, b)
	session := mustUser(t, b, spec.Instance)
	used := func() backstay.Bytes {
		t.Helper()
		storage, err := b.Storage(t.Context(), spec.Instance)
		if err != nil {
			t.Fatal(err)
		}
		if storage.Enforced {
			t.Error("storage is said to be enforced, in a directory")
		}
		return storage.Used
	}
	before := used()
	const fill = "CREATE TABLE filled AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 20000) n"
	if _, err := session.Exec(t.Context(), fill); err != nil { // 19 MB
		t.Fatal(err)
	}
	if grown := used() - before; grown < 19*backstay.MB || grown > 150*backstay.MB {
		t.Errorf("it has grown by %s to %s", grown, used())
	}
	if _, err := b.Storage(t.Context(), "absent"); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("of an absent instance: %v", err)
	}
}
