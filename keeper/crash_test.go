package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestKeeperDiesBehindEveryStep leads instances through whole lives, one after the other, with keepers of which
// each dies behind another step.
func TestKeeperDiesBehindEveryStep(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dieBehindEach(t, c, keeper.StepNames(), func(enough <-chan struct{}) error { return leadUntil(ctx, t, c, enough) },
		func(*keeper.Config, string) {})
}

// dieBehindEach leads instances until enough is closed, with keepers of which each dies behind another one of the steps.
// Before each of them starts, its configuration can be changed.
func dieBehindEach(
	t *testing.T, c keeper.Config, steps []string, lead func(enough <-chan struct{}) error, before func(*keeper.Config, string),
) {
	t.Helper()
	enough := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- lead(enough) }()
	for _, step := range steps {
		before(&c, step)
		_, _, died := keepertest.Start(t, c, step)
		select {
		case <-died:
			t.Logf("a keeper has died behind %s", step)
		case err := <-ended:
			t.Fatalf("before a keeper came past %s: %v", step, err)
		}
	}
	keepertest.Run(t, c)
	close(enough)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	checkNothingLeft(t, c)
}

func leadUntil(ctx context.Context, t *testing.T, c keeper.Config, enough <-chan struct{}) error {
	for {
		if err := lead(ctx, c, newSpec(t)); err != nil {
			return err
		}
		select {
		case <-enough:
			return nil
		default:
		}
	}
}

// TestKeeperDiesAnywhere kills keepers at instants that are no step's end.
func TestKeeperDiesAnywhere(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	c := keepertest.Config(t, 1)
	_, kill, _ := keepertest.Start(t, c, "")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	enough := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- leadUntil(ctx, t, c, enough) }()
	for range 25 {
		select {
		case <-time.After(rand.N(600 * time.Millisecond)):
		case err := <-ended:
			t.Fatal(err)
		}
		kill()
		_, kill, _ = keepertest.Start(t, c, "")
	}
	close(enough)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	checkNothingLeft(t, c)
}

// lead takes an instance through its life, as a control plane does that asks again after a crash: it comes up,
// is changed, is restarted, is asked for what cannot be, is broken while a user goes, is mended and removed.
func lead(ctx context.Context, c keeper.Config, spec backend.Spec) error {
	b := local.New(keepertest.Socket(c))
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	credentials, err := user(ctx, b, spec.Instance)
	if err != nil {
		return err
	}
	spec.Generation, spec.Size.Connections = 2, 40
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	if err := connect(ctx, credentials); err != nil {
		return err
	}
	spec.Generation, spec.Size.Storage = 3, 2*spec.Size.Storage
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	spec.Generation, spec.Restarts = 4, 1
	if err := applyAndReach(ctx, b, spec); err != nil {
		return err
	}
	if err := refuse(ctx, b, spec); err != nil {
		return err
	}
	if err := connect(ctx, credentials); err != nil {
		return fmt.Errorf("beside an impossible Spec: %w", err)
	}
	if err := dropWhileBroken(ctx, b, c, spec.Instance); err != nil {
		return err
	}
	if err := connect(ctx, credentials); err == nil {
		return errors.New("a user that was dropped while the instance was broken can log in")
	}
	return end(ctx, b, spec.Instance)
}

func applyAndReach(ctx context.Context, b *local.Backend, spec backend.Spec) error {
	if err := b.Apply(ctx, spec); err != nil {
		return fmt.Errorf("apply generation %d: %w", spec.Generation, err)
	}
	return reach(ctx, b, spec)
}

// refuse wants a version that is not installed, and returns when that is given up.
func refuse(ctx context.Context, b *local.Backend, spec backend.Spec) error {
	spec.Generation, spec.Version = spec.Generation+1, "0"
	if err := b.Apply(ctx, spec); err != nil {
		return fmt.Errorf("apply an impossible generation: %w", err)
	}
	return follow(ctx, b, spec.Instance, func(s backend.Status) bool {
		return s.Obstacle.Final && s.Obstacle.Generation == spec.Generation && s.Phase == backend.Running
	})
}

// dropWhileBroken drops the user of an instance that cannot serve, until what it lacks comes back.
func dropWhileBroken(ctx context.Context, b *local.Backend, c keeper.Config, id backstay.InstanceID) error {
	data := filepath.Join(c.DataDir, "instances", string(id), "data")
	if err := os.Rename(data, data+".away"); err != nil {
		return err
	}
	a, err := b.Admin(ctx, id)
	if err != nil {
		return err
	}
	if err := syscall.Kill(a.PID, syscall.SIGKILL); err != nil {
		return err
	}
	if err := follow(ctx, b, id, func(s backend.Status) bool { return s.Phase == backend.Failing }); err != nil {
		return err
	}
	if err := b.DropUser(ctx, id, "u1"); err != nil {
		return fmt.Errorf("drop a user of what is broken: %w", err)
	}
	if err := os.Rename(data+".away", data); err != nil {
		return err
	}
	return follow(ctx, b, id, func(s backend.Status) bool { return s.Phase == backend.Running })
}

func reach(ctx context.Context, b *local.Backend, spec backend.Spec) error {
	return follow(ctx, b, spec.Instance, func(s backend.Status) bool {
		return s.Phase == backend.Running && s.Generation == spec.Generation
	})
}

// longestWay is within what an instance reaches whatever is wanted of it, its keeper being killed time and again.
const longestWay = 5 * time.Minute

func follow(ctx context.Context, b *local.Backend, id backstay.InstanceID, wanted func(backend.Status) bool) error {
	ctx, cancel := context.WithTimeout(ctx, longestWay)
	defer cancel()
	var last backend.Status
	for {
		s, err := b.Await(ctx, id, last.Revision)
		if err != nil {
			return fmt.Errorf("await: %w; the last status was %+v", err, last)
		}
		if last = s; wanted(s) {
			return nil
		}
	}
}

// user asks until the engine is up again: who kills a keeper while it starts an engine anew may see it fail.
func user(ctx context.Context, b *local.Backend, id backstay.InstanceID) (backstay.Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, longestWay)
	defer cancel()
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
