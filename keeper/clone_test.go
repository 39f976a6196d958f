package keeper_test

import (
	"testing"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestCloneBeginsFromItsSource makes instances of Redis out of another one, and asks for a source that is not there.
func TestCloneBeginsFromItsSource(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 3)
	c.Engines["redis"] = redis.Engine{}
	b, _ := keepertest.Run(t, c)
	source := newSpec(t)
	source.Engine, source.Version, source.Settings = "redis", "7.0", nil
	if err := applyAndReach(t.Context(), b, source); err != nil {
		t.Fatal(err)
	}
	copied := newSpec(t)
	copied.Engine, copied.Version, copied.Settings = source.Engine, source.Version, nil
	copied.Origin = &backend.Origin{Instance: source.Instance, Clone: true}
	if err := applyAndReach(t.Context(), b, copied); err != nil {
		t.Fatal(err)
	}
	lost := copied
	lost.Instance, lost.Origin = newSpec(t).Instance, &backend.Origin{Instance: "nobody", Clone: true}
	if err := b.Apply(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	const want = "There is no instance nobody to clone."
	err := follow(t.Context(), b, lost.Instance, func(s backend.Status) bool {
		return s.Obstacle.Final && s.Obstacle.Sentence == want && s.Phase != backend.Running
	})
	if err != nil {
		t.Error(err)
	}
}
