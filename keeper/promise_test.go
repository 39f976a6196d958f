package keeper_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestPromisesAreBounded has a keeper whose disk is promised but for a little. What asks for more than that is refused,
// whether it is new or grows; what asks for less or the same is not.
func TestPromisesAreBounded(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 3)
	var disk unix.Statfs_t
	if err := unix.Statfs(c.DataDir, &disk); err != nil {
		t.Fatal(err)
	}
	c.Overcommit = float64(10*backstay.GB) / (float64(disk.Blocks) * float64(disk.Bsize))
	b, _ := keepertest.Run(t, c)
	spec := newSpec(t)
	spec.Size.Storage = 8 * backstay.GB
	mustReach(t, b, spec)

	other := newSpec(t)
	other.Size.Storage = 2 * backstay.GB
	refusedPromise(t, b.Apply(t.Context(), other))
	refusedPromise(t, b.Admit(t.Context(), other))
	other.Size.Storage = backstay.GB
	mustReach(t, b, other)

	other.Generation, other.Size.Storage = 2, 2*backstay.GB
	refusedPromise(t, b.Apply(t.Context(), other))
	spec.Generation, spec.Restarts = 2, 1
	mustReach(t, b, spec)
	spec.Generation, spec.Size.Storage = 3, 4*backstay.GB
	mustReach(t, b, spec)
	mustReach(t, b, other)
}

func refusedPromise(t *testing.T, err error) {
	t.Helper()
	if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(backstay.SentenceOf(err), "2GB of storage") {
		t.Errorf("what promises too much: %v", err)
	}
}

// TestMemoryOfNodesIsPromised asks for more memory for the nodes of instances of two than the machine has. Who has one
// node shares what there is.
func TestMemoryOfNodesIsPromised(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 6)
	b, _ := keepertest.Run(t, c)
	spec := newSpec(t)
	spec.Nodes = 2
	mustReach(t, b, spec)

	other := newSpec(t)
	other.Nodes, other.Size.Memory = 2, instance.Memory()/2
	err := b.Admit(t.Context(), other)
	if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(backstay.SentenceOf(err), "for each of 2 nodes") {
		t.Errorf("memory is promised that there is not: %v", err)
	}
	other.Size.Memory -= spec.Size.Memory
	if err := b.Admit(t.Context(), other); err != nil {
		t.Errorf("memory that there is: %v", err)
	}
	other.Reading = readFrom(2)
	err = b.Admit(t.Context(), other)
	if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(backstay.SentenceOf(err), "3 nodes with") {
		t.Errorf("memory of a replica is promised that there is not: %v", err)
	}
	if other.Reading = readFrom(4); backstay.KindOf(b.Admit(t.Context(), other)) != backstay.Unsupported {
		t.Error("an instance may be read from four replicas")
	}
	other.Nodes, other.Size.Memory, other.Reading = 1, instance.Memory(), readFrom(3)
	if err := b.Admit(t.Context(), other); err != nil {
		t.Errorf("one node: %v", err)
	}
}
