package keeper_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// onEachWithReplicas runs a test with each product, and a keeper that has room for an instance with further replicas.
func onEachWithReplicas(t *testing.T, test func(t *testing.T, p product, c keeper.Config)) {
	onEachPaired(t, func(t *testing.T) keeper.Config { return keepertest.Config(t, 10) }, test)
}

// readFrom is a wish for so many nodes to read from.
func readFrom(replicas int) backend.Reading { return backend.Reading{Replicas: &replicas} }

// isReadFrom tells whether the instance is protected, and is read from so many nodes, all but the primary.
func isReadFrom(replicas int) func(backend.Status) bool {
	return func(s backend.Status) bool {
		if s.Phase != backend.Running || s.Protected.IsZero() || len(s.Nodes) != 1+replicas || s.Nodes[0].Reads {
			return false
		}
		for i, n := range s.Nodes[1:] {
			if n.Phase != backend.Running || !n.Reads || (n.Role == backend.Replica) != (i > 0) {
				return false
			}
		}
		return true
	}
}

// withReplicas makes an instance that is read from three nodes while they are behind by no more than some seconds, and in
// which a number is noted.
func withReplicas(
	t *testing.T, p product, b *local.Backend, maxLag int,
) (spec backend.Spec, writes, reads backstay.Credentials) {
	t.Helper()
	spec = specOf(t, p)
	spec.Reading = readFrom(3)
	spec.Reading.MaxLag = maxLag
	writes, reads = mustBeRead(t, p, b, &spec)
	return spec, writes, reads
}

// mustBeRead makes an instance of two that is read from as many nodes as its Spec says, and in which a number is noted.
func mustBeRead(
	t *testing.T, p product, b *local.Backend, spec *backend.Spec,
) (writes, reads backstay.Credentials) {
	t.Helper()
	spec.Nodes = 2
	mustApplySpec(t, b, *spec)
	until(t, b, spec.Instance, func(s backend.Status) bool { return running(s) && !s.Protected.IsZero() })
	writes = mustCredentials(t, b, spec.Instance)
	mustNoteAs(t, p, writes, 1)
	reads, err := b.CreateUser(t.Context(), spec.Instance, replicaUser("u2"))
	if err != nil {
		t.Fatal(err)
	}
	until(t, b, spec.Instance, isReadFrom(*spec.Reading.Replicas))
	return writes, reads
}

func isProtected4(s backend.Status) bool {
	return s.Phase == backend.Running && len(s.Nodes) == 4 && !s.Protected.IsZero()
}

// homeOf is the place of the node of that name.
func homeOf(spec backend.Spec, name string) string {
	return string(instance.Home(spec.Instance, instance.Place(strings.TrimPrefix(name, "1"))))
}

// wantAllRead wants new sessions to be spread over all of so many nodes that follow, and to see these numbers. A node that
// still comes to the generation that was reached is waited for.
func wantAllRead(t *testing.T, p product, c keeper.Config, replicas int, reads backstay.Credentials, numbers ...int) {
	t.Helper()
	dirs, _ := filepath.Glob(filepath.Join(c.DataDir, "run", fmt.Sprintf("*.r%v", reads["port"])))
	if len(dirs) != 1 {
		t.Fatalf("reading fronts at port %v: %v", reads["port"], dirs)
	}
	front := endpoint.NewClient(dirs[0])
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		var sessions []writer
		for range replicas {
			r, err := p.open(t.Context(), reads)
			if err != nil {
				t.Fatalf("connect to a replica: %v", err)
			}
			sessions = append(sessions, r)
			wantRead(t, r, true, numbers...)
		}
		s, err := front.Status(t.Context())
		for _, r := range sessions {
			r.close()
		}
		serving := 0
		for _, target := range s.Targets {
			if target.Told && target.Sessions > 0 {
				serving++
			}
		}
		if err == nil && serving == replicas {
			return
		}
		if time.Since(began) > limit {
			t.Fatalf("%d nodes have sessions of readers, want %d: %+v, %v", serving, replicas, s.Targets, err)
		}
	}
}

// TestReplicas: an instance is read from two nodes besides its standby. They follow whichever node is the primary, are
// never that themselves, are made good by themselves, and go without a trace.
func TestReplicas(t *testing.T) {
	onEachWithReplicas(t, func(t *testing.T, p product, c keeper.Config) {
		b, kill, _ := keepertest.Start(t, c, "")
		spec, writes, reads := withReplicas(t, p, b, 10)
		var sessions []writer
		for range 3 {
			sessions = append(sessions, mustRead(t, p, reads))
		}
		for _, r := range sessions {
			wantRead(t, r, true, 1)
		}

		kill() // the keeper
		for _, r := range sessions {
			wantRead(t, r, true, 1)
		}
		b, _, _ = keepertest.Start(t, c, "")
		until(t, b, spec.Instance, isReadFrom(3))
		mustNoteAs(t, p, writes, 2)
		for _, r := range sessions {
			wantRead(t, r, true, 1, 2)
		}

		killIn(c, homeOf(spec, "3"))
		until(t, b, spec.Instance, func(s backend.Status) bool { return len(s.Nodes) == 4 && !s.Nodes[2].Reads })
		wantAllRead(t, p, c, 2, reads, 1, 2)
		until(t, b, spec.Instance, isReadFrom(3))

		primary := until(t, b, spec.Instance, isReadFrom(3)).Nodes[0].Name
		began := time.Now()
		mustSignal(t, mustPID(t, b, spec.Instance), syscall.SIGKILL) // of the primary
		s := until(t, b, spec.Instance, func(s backend.Status) bool { return s.Nodes[0].Name != primary && s.Phase == backend.Running })
		t.Logf("another primary after %v", time.Since(began))
		if name := s.Nodes[0].Name; name != "1" && name != "2" {
			t.Errorf("node %s is the primary", name)
		}
		mustNoteAs(t, p, writes, 3)
		until(t, b, spec.Instance, isReadFrom(3))
		t.Logf("read from all again after %v", time.Since(began))
		wantAllRead(t, p, c, 3, reads, 1, 2, 3)

		spec.Generation, spec.Reading = spec.Generation+1, readFrom(2)
		mustApplySpec(t, b, spec)
		until(t, b, spec.Instance, isReadFrom(2))
		awaitVacant(t, c, homeOf(spec, "4"))
		spec.Generation, spec.Reading = spec.Generation+1, readFrom(3)
		spec.Restarts++
		mustApplySpec(t, b, spec)
		again := func(s backend.Status) bool { return s.Generation == spec.Generation && isReadFrom(3)(s) }
		untilWithin(t, 2*limit, b, spec.Instance, again) // one is copied, the standby takes over, and three rejoin it
		wantAllRead(t, p, c, 3, reads, 1, 2, 3)

		spec.Generation, spec.Nodes = spec.Generation+1, 1
		mustApplySpec(t, b, spec)
		until(t, b, spec.Instance, func(s backend.Status) bool {
			return running(s) && s.Generation == spec.Generation && len(s.Nodes) == 1 && s.Nodes[0].Reads
		})
		wantRead(t, mustRead(t, p, reads), false, 1, 2, 3)
		for _, name := range []string{"3", "4"} {
			awaitVacant(t, c, homeOf(spec, name))
		}
		if err := end(t.Context(), b, spec.Instance); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"run", "instances", "volumes"} {
			if left, _ := filepath.Glob(filepath.Join(c.DataDir, dir, "*")); len(left) > 0 {
				t.Errorf("left of the instance: %v", left)
			}
		}
	})
}

// awaitVacant wants nothing to be left at a place within a moment.
func awaitVacant(t *testing.T, c keeper.Config, home string) {
	t.Helper()
	if err := vacated(t.Context(), c, home); err != nil {
		t.Error(err)
	}
}

// vacated returns when nothing is left at a place.
func vacated(ctx context.Context, c keeper.Config, home string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var left []string
	err := wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) {
		left, err = filepath.Glob(filepath.Join(c.DataDir, "*", home+"*"))
		return len(left) > 0, err
	})
	if err != nil {
		return fmt.Errorf("left of a replica: %v: %w", left, err)
	}
	return nil
}
