package keeper_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestKeeperDiesBehindEveryStep leads an instance through its life with keepers that die one after the
// other, each behind the step that comes next.
func TestKeeperDiesBehindEveryStep(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	b := local.New(keepertest.Socket(c))
	life := make(chan error, 1)
	go func() { life <- lead(t.Context(), b, newSpec(t)) }()
	for _, step := range stepsOfALife(t) {
		_, _, ended := keepertest.Start(t, c, step)
		select {
		case <-ended:
		case err := <-life:
			t.Fatalf("before a keeper came past %s: %v", step, err)
		}
	}
	keepertest.Run(t, c)
	if err := <-life; err != nil {
		t.Fatal(err)
	}
	checkNothingLeft(t, c)
}

// stepsOfALife are those of coming up, of coming up again with another Spec, and of removal.
func stepsOfALife(t *testing.T) []string {
	t.Helper()
	names := keeper.StepNames()
	removal := slices.Index(names, "keeper.removal-written")
	if removal <= 0 {
		t.Fatalf("where does removal begin in %q?", names)
	}
	return slices.Concat(names[:removal], names)
}

// TestKeeperDiesAnywhere kills keepers at instants that are no step's end.
func TestKeeperDiesAnywhere(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	c := keepertest.Config(t, 1)
	b, kill, _ := keepertest.Start(t, c, "")
	spec := newSpec(t)
	life := make(chan error, 1)
	go func() { life <- lead(t.Context(), b, spec) }()
	for range 12 {
		select {
		case <-time.After(rand.N(400 * time.Millisecond)):
		case err := <-life:
			if err != nil {
				t.Fatal(err)
			}
			go func() { life <- lead(t.Context(), b, spec) }()
		}
		kill()
		_, kill, _ = keepertest.Start(t, c, "")
	}
	if err := <-life; err != nil {
		t.Fatal(err)
	}
	checkNothingLeft(t, c)
}

// lead takes an instance through its life, as a control plane does that asks again after a crash.
func lead(ctx context.Context, b *local.Backend, spec backend.Spec) error {
	ctx, cancel := context.WithTimeout(ctx, 2*limit)
	defer cancel()
	if err := b.Apply(ctx, spec); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	if err := reach(ctx, b, spec); err != nil {
		return err
	}
	credentials, err := user(ctx, b, spec.Instance)
	if err != nil {
		return err
	}
	spec.Generation, spec.Size.Connections = 2, 40
	if err := b.Apply(ctx, spec); err != nil {
		return fmt.Errorf("apply generation 2: %w", err)
	}
	if err := reach(ctx, b, spec); err != nil {
		return err
	}
	if err := connect(ctx, credentials); err != nil {
		return err
	}
	return end(ctx, b, spec.Instance)
}

func reach(ctx context.Context, b *local.Backend, spec backend.Spec) error {
	for revision := int64(0); ; {
		s, err := b.Await(ctx, spec.Instance, revision)
		if err != nil {
			return fmt.Errorf("await generation %d: %w; the last status was %+v", spec.Generation, err, s)
		}
		if s.Phase == backend.Running && s.Generation == spec.Generation {
			return nil
		}
		revision = s.Revision
	}
}

// user asks until the engine is up again: who kills a keeper while it starts an engine anew may see it fail.
func user(ctx context.Context, b *local.Backend, id backstay.InstanceID) (backstay.Credentials, error) {
	for {
		c, err := b.CreateUser(ctx, id, backend.User{Name: "u1", Password: "correcthorsebatterystaple"})
		if backstay.KindOf(err) != backstay.Unavailable || ctx.Err() != nil {
			return c, err
		}
	}
}

func connect(ctx context.Context, c backstay.Credentials) error {
	conn, err := pgx.Connect(ctx, c["uri"].(string)+"?sslmode=require")
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func end(ctx context.Context, b *local.Backend, id backstay.InstanceID) error {
	err := b.Remove(ctx, id)
	for revision := int64(0); err == nil; {
		var s backend.Status
		s, err = b.Await(ctx, id, revision)
		revision = s.Revision
	}
	if backstay.KindOf(err) != backstay.NotFound {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}
