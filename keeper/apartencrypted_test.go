package keeper_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestEncryptedPairOnTwoDisks has the standby of an encrypted instance lie on a disk of its own: encrypted there, with
// the same key, also where it is made anew behind a failover. It takes over with all that was acknowledged.
func TestEncryptedPairOnTwoDisks(t *testing.T) {
	testkit.InSomeRuns(t)
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	t.Parallel()
	c := withEncryption(t, 5)
	standbys := newTestDisk(t, filepath.Join(testkit.Dir(t), "standbys"), "4G")
	c.StandbyDir = filepath.Join(standbys.dir, "backstay")
	mustMkdir(t, c.StandbyDir)
	t.Cleanup(func() { stopEngines(t, c) })
	b, _ := keepertest.Run(t, c)
	spec := specOf(t, paired[0])
	spec.Nodes = 2
	spec.Volume = backend.Volume{Encrypted: true, Key: backstay.Secret(strings.Repeat("0123456789abcdef", 4))}
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	for i, primary := range []string{"1", "2", "1"} {
		s := untilWithin(t, 2*time.Minute, b, spec.Instance, func(s backend.Status) bool {
			return isProtected(s) && s.Nodes[0].Name == primary
		})
		second := instance.Homes(spec.Instance)[1]
		if way, err := imagesAt(c.StandbyDir).EncryptedBy(second); err != nil || way == "" {
			t.Errorf("as %+v serve, the volume on the disk for standbys is encrypted by %q, %v", s.Nodes, way, err)
		}
		credentials := mustCredentials(t, b, spec.Instance)
		if err := add(t.Context(), paired[0], credentials, i); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			spec.Generation, spec.Failovers = spec.Generation+1, spec.Failovers+1
			mustReach(t, b, spec)
		}
	}
	if found := filesWith(t, standbys.dir, spec.Volume.Key.Reveal()); len(found) > 0 {
		t.Errorf("the key lies in %v", found)
	}
	if err := end(t.Context(), b, spec.Instance); err != nil {
		t.Fatal(err)
	}
	if found, err := imagesAt(c.StandbyDir).Found(); err != nil || len(found) > 0 {
		t.Errorf("behind the removal, the disk for standbys has %v, %v", found, err)
	}
}
