package keeper_test

import (
	"regexp"
	"sync"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/keepertest"
	"github.com/backstay/backstay/volume"
)

// TestNewInstanceNeedsRoomInThePool asks for more instances at once than a small pool can hold. As many as it has room for
// are made, and have their last room then; the others are refused at once, with the numbers. Those that there are can be
// changed all the same, and when one has gone there is room for another.
func TestNewInstanceNeedsRoomInThePool(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds, and a gigabyte")
	}
	c := keepertest.WithImages(t, 10)
	onSmallPool(t, c)
	b, _ := keepertest.Run(t, c)
	specs, refusals := make([]backend.Spec, 8), make([]error, 8)
	var all sync.WaitGroup
	for i := range specs {
		specs[i] = newSpec(t)
		all.Go(func() { refusals[i] = b.Apply(t.Context(), specs[i]) })
	}
	all.Wait()
	var made []backend.Spec
	for i, err := range refusals {
		if wantNoRoom(t, err) {
			made = append(made, specs[i])
		}
	}
	if len(made) < 2 || len(made) > 4 {
		t.Fatalf("%d instances of 256 MB are admitted to a pool of 1200 MB", len(made))
	}
	for _, spec := range made {
		mustReach(t, b, spec)
		if err := writeOnce(t.Context(), products[0], mustCredentials(t, b, spec.Instance)); err != nil {
			t.Error(err)
		}
		if u, err := imagesOf(c).Usage(spec.Instance); err != nil || u.Free < volume.Last {
			t.Errorf("one of %d instances in a small pool has %+v (%v)", len(made), u, err)
		}
	}
	larger := made[0]
	larger.Generation, larger.Size.Storage = 2, 2*larger.Size.Storage
	mustReach(t, b, larger)
	for wantNoRoom(t, b.Admit(t.Context(), newSpec(t))) { // what engines wrote is less than was kept for it
		spec := newSpec(t)
		mustReach(t, b, spec)
		made = append(made, spec)
	}
	if err := b.Remove(t.Context(), made[1].Instance); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, b, made[1].Instance)
	mustReach(t, b, newSpec(t))
}

var noRoom = regexp.MustCompile(`^The disk is nearly full: of \d+ MB that are free, 64 MB are kept for the platform and ` +
	`\d+ MB for the services that there are, to which \d+ GB are promised\. A new service takes 256 MB of them\. Delete `)

// wantNoRoom tells whether an instance was admitted; if it was not, it is to be for want of room in the pool.
func wantNoRoom(t *testing.T, err error) (admitted bool) {
	t.Helper()
	if err != nil && (backstay.KindOf(err) != backstay.Unavailable || !noRoom.MatchString(backstay.SentenceOf(err))) {
		t.Errorf("refused with %v", err)
	}
	return err == nil
}
