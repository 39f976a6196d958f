package brokertest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/broker/terms"
	windows "github.com/backstay/backstay/window"
)

// arranging is an update that is done at once.
func arranging(in backstay.InstanceID) broker.Arrangement {
	op := newOperation(in, backstay.Update)
	op.State = backstay.Succeeded
	return broker.Arrangement{Operation: op}
}

// wishing is an update that asks for the plan in the next maintenance window.
func wishing(in backstay.InstanceID, plan backstay.ServicePlanID) broker.Arrangement {
	a := arranging(in)
	a.Queue = &broker.Operation{
		Operation: backstay.Operation{Type: backstay.Update, State: broker.Waiting, Description: "It waits."},
		ID:        backstay.OperationKey(uuid.NewString()), InstanceID: in, Cause: broker.ByMaintenance,
		Asked: broker.Asked{PlanID: plan, PlanName: "named " + string(plan), Parameters: []byte("asked with " + plan)},
	}
	return a
}

// mustWish returns what waits then.
func mustWish(t *testing.T, s broker.Store, in backstay.InstanceID, plan backstay.ServicePlanID) broker.Pending {
	t.Helper()
	must(t, s.Arrange(t.Context(), wishing(in, plan)))
	p := mustRead(t, s, in).Pending
	if p.Asked.PlanID != plan || p.Asked.PlanName != "named "+string(plan) || !p.NotBefore.IsZero() || p.Reason != "" ||
		string(p.Asked.Parameters) != "asked with "+string(plan) {
		t.Fatalf("%+v waits, want plan %s", p, plan)
	}
	return p
}

// agreedOn is what an instance's wish for the plan comes to.
func agreedOn(t *testing.T, s broker.Store, in backstay.InstanceID, plan backstay.ServicePlanID) broker.Wanted {
	t.Helper()
	agreed := wanting(in, backstay.Update, plan).Wanted
	agreed.Generation = mustRead(t, s, in).Generation
	return agreed
}

func mustStart(t *testing.T, s broker.Store, in backstay.InstanceID, p broker.Pending) broker.Operation {
	t.Helper()
	started, err := s.StartOperation(t.Context(), p.ID, agreedOn(t, s, in, p.Asked.PlanID))
	must(t, err)
	return started
}

func aWaitingOperationStandsInNobodysWay(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	p := mustWish(t, s, in.ID, "large")
	if now := mustRead(t, s, in.ID); now.Busy || now.Operation.Type != backstay.Update ||
		now.Operation.State != backstay.Succeeded {
		t.Errorf("while a wish waits: %+v", now)
	}
	stale := agreedOn(t, s, in.ID, "large")
	now := mustBegin(t, s, wanting(in.ID, backstay.Update, "medium"))
	_, err := s.StartOperation(t.Context(), p.ID, agreedOn(t, s, in.ID, "large"))
	wantKind(t, err, backstay.Busy)
	must(t, s.SucceedOperation(t.Context(), now.ID, "It serves.", served))
	_, err = s.StartOperation(t.Context(), p.ID, stale) // made of what is not accepted any more
	wantKind(t, err, backstay.Busy)
	started := mustStart(t, s, in.ID, p)
	if started.State != backstay.InProgress || started.Generation != 3 || string(started.Spec) != "spec of large" ||
		started.Asked.PlanID != "large" {
		t.Errorf("started as %+v", started)
	}
	if again := mustStart(t, s, in.ID, p); again.Generation != started.Generation {
		t.Errorf("started again as %+v", again)
	}
	if seen := mustRead(t, s, in.ID); seen.Operation.ID != now.ID || !seen.Busy || seen.Pending.ID != "" {
		t.Errorf("while maintenance is at work, users see %+v", seen)
	}
	must(t, s.SucceedOperation(t.Context(), p.ID, "It serves more.", served))
	wantAccepted(t, s, in.ID, "large", 3)
	if seen := mustRead(t, s, in.ID); seen.Operation.ID != p.ID {
		t.Errorf("when maintenance has ended, users see %+v", seen.Operation)
	}
}

func aWishReplacesAnother(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	first := mustWish(t, s, in.ID, "large")
	mustWish(t, s, in.ID, "medium")
	_, err := s.Operation(t.Context(), first.ID)
	wantKind(t, err, backstay.NotFound)
	wantAccepted(t, s, in.ID, "small", 1)
}

func aWishIsWithdrawn(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	p := mustWish(t, s, in.ID, "large")
	a := arranging(in.ID)
	must(t, s.Arrange(t.Context(), a))
	if kept := mustRead(t, s, in.ID).Pending; kept.ID != p.ID {
		t.Errorf("an arrangement about something else leaves %+v", kept)
	}
	a = arranging(in.ID)
	a.Withdraw = true
	must(t, s.Arrange(t.Context(), a))
	now := mustRead(t, s, in.ID)
	if now.Pending.ID != "" || now.Operation.ID != a.Operation.ID {
		t.Errorf("after it was withdrawn: %+v", now)
	}
	_, err := s.StartOperation(t.Context(), p.ID, broker.Wanted{})
	wantKind(t, err, backstay.NotFound)
	last := mustWish(t, s, in.ID, "large")
	must(t, s.FailOperation(t.Context(), last.ID, "It is not sold any more."))
	now = mustRead(t, s, in.ID)
	if now.Pending.ID != "" || now.Operation.State != backstay.Failed ||
		now.Operation.Description != "It is not sold any more." {
		t.Errorf("after it could not be agreed on: %+v", now)
	}
	wantAccepted(t, s, in.ID, "small", 1)
}

func nothingIsArrangedBesideAnOperation(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	p := mustWish(t, s, in.ID, "large")
	op := mustBegin(t, s, wanting(in.ID, backstay.Update, "medium"))
	wantKind(t, s.Arrange(t.Context(), wishing(in.ID, "small")), backstay.Busy)
	must(t, s.FailOperation(t.Context(), op.ID, "It did not."))
	mustStart(t, s, in.ID, p)
	must(t, s.Arrange(t.Context(), wishing(in.ID, "small"))) // maintenance is at work, which users do not see
}

func anOperationIsPostponed(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	p := mustWish(t, s, in.ID, "large")
	op := mustStart(t, s, in.ID, p)
	refusal := broker.Refusal{Reason: "The disk is full.", Again: time.Now().Add(time.Hour).Round(time.Second)}
	given, err := s.GiveUpOperation(t.Context(), op.ID, refusal)
	must(t, err)
	if given.Generation != 3 || given.Failure != refusal.Reason || !given.NotBefore.Equal(refusal.Again) {
		t.Errorf("given up as %+v", given)
	}
	must(t, s.PostponeOperation(t.Context(), op.ID, refusal))
	wantAccepted(t, s, in.ID, "small", 3)
	now := mustRead(t, s, in.ID)
	if again := now.Pending; again.ID != op.ID || again.Asked.PlanID != "large" || again.Reason != refusal.Reason ||
		!again.NotBefore.Equal(refusal.Again) || now.Busy {
		t.Errorf("postponed as %+v", now)
	}
	if waits, err := s.Operation(t.Context(), op.ID); err != nil || waits.Spec != nil || waits.Failure == "" {
		t.Errorf("it waits as %+v, %v", waits, err)
	}
	started := mustStart(t, s, in.ID, now.Pending)
	if started.Generation != 4 || started.Failure != "" || !started.NotBefore.IsZero() {
		t.Errorf("started again as %+v", started)
	}
	must(t, s.SucceedOperation(t.Context(), op.ID, "It serves.", served))
	wantAccepted(t, s, in.ID, "large", 4)
}

func aNewerWishIsNotPostponed(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	op := mustStart(t, s, in.ID, mustWish(t, s, in.ID, "large"))
	newer := mustWish(t, s, in.ID, "medium")
	must(t, s.PostponeOperation(t.Context(), op.ID, broker.Refusal{Reason: "Not now.", Again: time.Now()}))
	if kept := mustRead(t, s, in.ID).Pending; kept.ID != newer.ID {
		t.Errorf("%+v waits, want the newer wish", kept)
	}
	_, err := s.Operation(t.Context(), op.ID)
	wantKind(t, err, backstay.NotFound)
}

func aWishIsRemarkedOn(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	p := mustWish(t, s, in.ID, "large")
	before := int64(0)
	for _, reason := range []string{"There is no room.", ""} {
		must(t, s.RemarkOperation(t.Context(), p.ID, reason))
		if now := mustRead(t, s, in.ID).Pending; now.Reason != reason || now.ID != p.ID || !now.NotBefore.IsZero() {
			t.Errorf("with the reason %q it waits as %+v", reason, now)
		}
		changed, now, err := s.AwaitChanges(t.Context(), before)
		if err != nil || !slices.Contains(changed, in.ID) {
			t.Errorf("the changes of %v are told, %v", changed, err)
		}
		before = now
	}
	must(t, s.RemarkOperation(t.Context(), "unknown", "There is no room."))
	started := mustStart(t, s, in.ID, p)
	must(t, s.RemarkOperation(t.Context(), p.ID, "There is no room."))
	if op, err := s.Operation(t.Context(), p.ID); err != nil || op.Failure != "" || op.State != started.State {
		t.Errorf("in progress it is %+v, %v", op, err)
	}
}

// whatWasPostponedFails, since it is not sold any more in the next window.
func whatWasPostponedFails(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	op := mustStart(t, s, in.ID, mustWish(t, s, in.ID, "large"))
	refusal := broker.Refusal{Reason: "The disk is full.", Again: time.Now()}
	_, err := s.GiveUpOperation(t.Context(), op.ID, refusal)
	must(t, err)
	must(t, s.PostponeOperation(t.Context(), op.ID, refusal))
	must(t, s.FailOperation(t.Context(), op.ID, "It is not sold any more."))
	wantAccepted(t, s, in.ID, "small", 3)
	if now := mustRead(t, s, in.ID); now.Pending.ID != "" || now.Operation.Description != "It is not sold any more." {
		t.Errorf("after it could not be agreed on: %+v", now)
	}
}

func windowsAreKept(t *testing.T, s broker.Store) {
	in, create := newInstance()
	in.Windows.Maintenance, in.Windows.Backup = windows.Random(1)
	kept, err := s.AddInstance(t.Context(), in, create)
	must(t, err)
	if kept.Windows != in.Windows {
		t.Errorf("kept %v, want %v", kept.Windows, in.Windows)
	}
	must(t, s.SucceedOperation(t.Context(), create.ID, "It serves.", served))
	tuesday := windows.Weekly{Start: 28 * time.Hour, Length: time.Hour}
	a := arranging(in.ID)
	a.Windows.Maintenance = tuesday
	must(t, s.Arrange(t.Context(), a))
	if now := mustRead(t, s, in.ID).Windows; now != (terms.Windows{Maintenance: tuesday, Backup: in.Windows.Backup}) {
		t.Errorf("moved to %v", now)
	}
	op := wanting(in.ID, backstay.Update, "large")
	op.Windows.Backup = windows.Daily{Start: time.Hour, Length: time.Hour}
	op = mustBegin(t, s, op)
	if now := mustRead(t, s, in.ID).Windows; now.Backup != in.Windows.Backup {
		t.Errorf("%v before the update has ended", now)
	}
	must(t, s.SucceedOperation(t.Context(), op.ID, "It serves.", served))
	if now := mustRead(t, s, in.ID).Windows; now != (terms.Windows{Maintenance: tuesday, Backup: op.Windows.Backup}) {
		t.Errorf("%v after the update", now)
	}
}

func theScheduleTellsWhatIsDue(t *testing.T, s broker.Store) {
	scheduled := func(id backstay.InstanceID) *broker.Scheduled {
		all, err := s.Schedule(t.Context())
		must(t, err)
		for i := range all {
			if all[i].ID == id {
				return &all[i]
			}
		}
		return nil
	}
	if making := mustAdd(t, s); scheduled(making.ID) != nil {
		t.Error("an instance is scheduled that nothing is accepted of")
	}
	in := mustServe(t, s)
	want := broker.Scheduled{
		ID: in.ID, ServiceID: "service", PlanID: "small", Backend: "local", Build: served.Build, Windows: in.Windows,
	}
	if got := scheduled(in.ID); got == nil || !sameJSON(*got, want) {
		t.Errorf("scheduled as %+v, want %+v", got, want)
	}
	must(t, s.AllowDrills(t.Context(), in.ID, true))
	if got := scheduled(in.ID); !got.MayDrill {
		t.Errorf("with drills allowed: %+v", got)
	}
	must(t, s.AllowDrills(t.Context(), in.ID, false))
	must(t, s.AllowDrills(t.Context(), "absent", true))
	p := mustWish(t, s, in.ID, "large")
	if got := scheduled(in.ID); got.Pending.ID != p.ID || got.Busy {
		t.Errorf("with a wish: %+v", got)
	}
	op := wanting(in.ID, backstay.Update, "small")
	op.Cause, op.NotBefore = broker.ByMaintenance, time.Now().Add(time.Hour).Round(time.Second)
	op = mustBegin(t, s, op)
	if got := scheduled(in.ID); !got.Busy || !got.Kept || !got.Rests.IsZero() {
		t.Errorf("with maintenance in progress: %+v", got)
	}
	must(t, s.FailOperation(t.Context(), op.ID, "It did not."))
	if got := scheduled(in.ID); got.Busy || got.Kept || !got.Rests.Equal(op.NotBefore) {
		t.Errorf("after maintenance has failed: %+v, want it to rest until %v", got, op.NotBefore)
	}
	mustBegin(t, s, wanting(in.ID, backstay.Update, "large"))
	if got := scheduled(in.ID); !got.Busy || got.Kept {
		t.Errorf("with an update of a user in progress: %+v", got)
	}
}

func changesAreAwaited(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	seen := int64(0)
	await := func(ctx context.Context) error {
		for {
			changed, now, err := s.AwaitChanges(ctx, seen)
			if err != nil {
				return err
			}
			if now <= seen {
				t.Errorf("after %d comes %d", seen, now)
			}
			seen = now
			for _, id := range changed {
				if id == in.ID {
					return nil
				}
			}
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	p := mustWish(t, s, in.ID, "large")
	if err := await(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a change where users have only wished: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	heard := make(chan error)
	go func() { heard <- await(ctx) }()
	op := mustStart(t, s, in.ID, p)
	must(t, <-heard)
	must(t, s.PostponeOperation(t.Context(), op.ID, broker.Refusal{Reason: "Not now.", Again: time.Now()}))
	must(t, await(ctx))
	mustStart(t, s, in.ID, p)
	must(t, await(ctx))
	must(t, s.SucceedOperation(t.Context(), op.ID, "It serves.", served))
	must(t, await(ctx))
}

// manyWishAndStart has wishes made, replaced, withdrawn and begun at once: one at most waits, one at most is begun, and
// each call succeeds or is refused in words.
func manyWishAndStart(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	mustWish(t, s, in.ID, "large")
	wantEach(t, together(func(i int) error {
		switch i % 4 {
		case 0:
			return s.Arrange(t.Context(), wishing(in.ID, "medium"))
		case 1:
			withdrawal := arranging(in.ID)
			withdrawal.Withdraw = true
			return s.Arrange(t.Context(), withdrawal)
		case 2:
			_, err := s.BeginOperation(t.Context(), wanting(in.ID, backstay.Update, "huge"))
			return err
		}
		now, err := s.Instance(t.Context(), in.ID)
		if err != nil || now.Pending.ID == "" {
			return err
		}
		agreed := wanting(in.ID, backstay.Update, now.Pending.Asked.PlanID).Wanted
		agreed.Generation = 1
		_, err = s.StartOperation(t.Context(), now.Pending.ID, agreed)
		return err
	}), backstay.Busy, backstay.NotFound)
	all, err := s.Schedule(t.Context())
	must(t, err)
	listed := 0
	for _, entry := range all {
		if entry.ID == in.ID {
			listed++
		}
	}
	if listed != 1 {
		t.Errorf("the instance is listed %d times: more than one waits, or is in progress", listed)
	}
}

// noChangeIsMissed counts many changes at once, beside one who follows them.
func noChangeIsMissed(t *testing.T, s broker.Store) {
	ids := map[backstay.InstanceID]bool{}
	var instances []broker.Instance
	for range crowd {
		in := mustServe(t, s)
		instances, ids[in.ID] = append(instances, in), true
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	all := make(chan error)
	go func() {
		seen := int64(0)
		for len(ids) > 0 {
			changed, now, err := s.AwaitChanges(ctx, seen)
			if err != nil {
				all <- err
				return
			}
			seen = now
			for _, id := range changed {
				delete(ids, id)
			}
		}
		all <- nil
	}()
	for _, err := range together(func(i int) error {
		op := wanting(instances[i].ID, backstay.Update, "large")
		op.Cause = broker.ByMaintenance
		_, err := s.BeginOperation(t.Context(), op)
		return err
	}) {
		must(t, err)
	}
	if err := <-all; err != nil {
		t.Errorf("%d changes were never told of: %v", len(ids), err)
	}
}
