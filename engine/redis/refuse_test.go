package redis_test

import (
	"context"
	"strings"
	"testing"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
)

func deleteAll(ctx context.Context, s enginetest.Session) error {
	c := s.(session)
	keys, err := c.Keys(ctx, "*").Result()
	if err == nil && len(keys) > 0 {
		err = c.Unlink(ctx, keys...).Err()
	}
	if err == nil {
		err = c.FlushAll(ctx).Err()
	}
	return err
}

// TestRefusingEvictsNothing, whatever the policy is, and it is the old one afterwards.
func TestRefusingEvictsNothing(t *testing.T) {
	t.Parallel()
	n, _, c := serving(t)
	for i := range 100 {
		if err := c.SetEx(t.Context(), strings.Repeat("k", i+1), "v", 1e12).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range []engine.Writes{engine.FewWrites, engine.NoWrites, engine.AnyWrites} {
		if err := tested.RefuseWrites(t.Context(), n, w); err != nil {
			t.Fatal(err)
		}
		if size, err := c.DBSize(t.Context()).Result(); err != nil || size != 100 {
			t.Errorf("under %v writes there are %d keys (%v), want 100", w, size, err)
		}
	}
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Errorf("afterwards nothing can be written: %v", err)
	}
}
