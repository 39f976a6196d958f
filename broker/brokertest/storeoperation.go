package brokertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
)

func aCreateIsAcceptedWhenItServes(t *testing.T, s broker.Store) {
	in := mustAdd(t, s)
	must(t, s.PlaceOperation(t.Context(), in.Operation.ID, []byte("spec of small")))
	must(t, s.ReportOperation(t.Context(), in.Operation.ID, "It comes up."))
	if op := mustRead(t, s, in.ID).Operation; op.Description != "It comes up." || op.State != backstay.InProgress {
		t.Errorf("reported: %+v", op)
	}
	noticed := served
	noticed.Notice = "It is older than asked."
	must(t, s.SucceedOperation(t.Context(), in.Operation.ID, "It serves.", noticed))
	wantAccepted(t, s, in.ID, "small", 1)
	kept := mustRead(t, s, in.ID)
	if op, err := s.LastOperation(t.Context(), in.ID, in.Operation.ID); err != nil || op.Notice != noticed.Notice {
		t.Errorf("the notice is %q, %v", op.Notice, err)
	}
	if op := kept.Operation; op.State != backstay.Succeeded || op.Description != "It serves." || op.Spec != nil ||
		kept.Busy || kept.Serving != served || op.UpdatedAt.Before(op.CreatedAt) {
		t.Errorf("ended as %+v", kept)
	}
	must(t, s.CondemnInstance(t.Context(), in.ID))
	wantAccepted(t, s, in.ID, "", 0)
}

func anUpdateIsAcceptedWhenItServes(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	op := mustBegin(t, s, wanting(in.ID, backstay.Update, "large"))
	if op.Generation != 2 || string(op.Spec) != "spec of large" {
		t.Errorf("begun as %+v", op)
	}
	wantAccepted(t, s, in.ID, "small", 1)
	must(t, s.SucceedOperation(t.Context(), op.ID, "It serves.", served))
	wantAccepted(t, s, in.ID, "large", 2)
}

func aFailedUpdateLeavesWhatWasAccepted(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	op := mustBegin(t, s, wanting(in.ID, backstay.Update, "large"))
	given, err := s.GiveUpOperation(t.Context(), op.ID, broker.Refusal{Reason: "It cannot be."})
	must(t, err)
	if given.Generation != 3 || given.Failure != "It cannot be." || given.Spec != nil ||
		given.State != backstay.InProgress {
		t.Errorf("given up as %+v", given)
	}
	wantAccepted(t, s, in.ID, "small", 1)
	must(t, s.FailOperation(t.Context(), op.ID, given.Failure))
	wantAccepted(t, s, in.ID, "small", 3)
	if op := mustBegin(t, s, wanting(in.ID, backstay.Update, "large")); op.Generation != 4 {
		t.Errorf("the next one begins as generation %d, want 4", op.Generation)
	}
}

func theFirstReasonStays(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	op := mustBegin(t, s, wanting(in.ID, backstay.Update, "large"))
	first, err := s.GiveUpOperation(t.Context(), op.ID, broker.Refusal{Reason: "It cannot be."})
	must(t, err)
	again, err := s.GiveUpOperation(t.Context(), op.ID, broker.Refusal{Reason: "It still cannot be.", Again: time.Now()})
	must(t, err)
	if again.Failure != first.Failure || !again.NotBefore.IsZero() || again.Generation != first.Generation {
		t.Errorf("given up twice: %+v, then %+v", first, again)
	}
}

func generationsAreRaised(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	raised, err := s.RaiseGeneration(t.Context(), in.ID, 7)
	must(t, err)
	if raised != 8 {
		t.Errorf("beyond generation 7 comes %d", raised)
	}
	wantAccepted(t, s, in.ID, "small", 8)
	if op := mustBegin(t, s, wanting(in.ID, backstay.Update, "large")); op.Generation != 9 {
		t.Errorf("the next operation begins as generation %d, want 9", op.Generation)
	}
	_, err = s.RaiseGeneration(t.Context(), in.ID, 7)
	wantKind(t, err, backstay.Busy)
	_, err = s.RaiseGeneration(t.Context(), backstay.InstanceID(uuid.NewString()), 7)
	wantKind(t, err, backstay.NotFound)
}

func oneOperationAtATime(t *testing.T, s broker.Store) {
	in := mustAdd(t, s)
	_, err := s.BeginOperation(t.Context(), wanting(in.ID, backstay.Update, "large"))
	wantKind(t, err, backstay.Busy)
	must(t, s.SucceedOperation(t.Context(), in.Operation.ID, "It serves.", served))
	op := mustBegin(t, s, wanting(in.ID, backstay.Update, "large"))
	if op.Generation != 2 {
		t.Errorf("a refused operation has used up a generation: the next is %d", op.Generation)
	}
	must(t, s.SucceedOperation(t.Context(), op.ID, "It serves.", served))
	late := wanting(in.ID, backstay.Update, "medium")
	late.Generation = 1 // what it was made of has been replaced meanwhile
	_, err = s.BeginOperation(t.Context(), late)
	wantKind(t, err, backstay.Busy)
	late.Generation = 2
	mustBegin(t, s, late)
}

func aReplacedOperationSaysNothingMore(t *testing.T, s broker.Store) {
	in := mustAdd(t, s)
	deletion := newOperation(in.ID, backstay.Delete)
	_, err := s.ReplaceOperation(t.Context(), deletion)
	must(t, err)
	must(t, s.ReportOperation(t.Context(), in.Operation.ID, "Too late."))
	must(t, s.PlaceOperation(t.Context(), in.Operation.ID, []byte("too late")))
	must(t, s.SucceedOperation(t.Context(), in.Operation.ID, "Too late.", served))
	must(t, s.FailOperation(t.Context(), in.Operation.ID, "Too late."))
	given, err := s.GiveUpOperation(t.Context(), in.Operation.ID, broker.Refusal{Reason: "Too late."})
	must(t, err)
	if given.State != backstay.Failed || given.Failure != "" || given.Description == "Too late." || given.Spec != nil {
		t.Errorf("the operation that was replaced is %+v", given)
	}
	op := mustRead(t, s, in.ID).Operation
	if op.ID != deletion.ID || op.Description != "It begins." || op.Generation != 0 {
		t.Errorf("the operation in its place is %+v", op)
	}
	wantAccepted(t, s, in.ID, "", 0)
}

func aDeleteIsBegunOnce(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	first, err := s.ReplaceOperation(t.Context(), newOperation(in.ID, backstay.Delete))
	must(t, err)
	again, err := s.ReplaceOperation(t.Context(), newOperation(in.ID, backstay.Delete))
	must(t, err)
	if again.ID != first.ID {
		t.Errorf("two deletes are begun: %s and %s", first.ID, again.ID)
	}
	must(t, s.FailOperation(t.Context(), first.ID, "It did not."))
	again, err = s.ReplaceOperation(t.Context(), newOperation(in.ID, backstay.Delete))
	must(t, err)
	if again.ID == first.ID {
		t.Error("a delete that has failed is taken for one that is in progress")
	}
}

func usersSeeTheirOwnOperations(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	kept := wanting(in.ID, backstay.Update, "small")
	kept.Cause = broker.ByMaintenance
	kept = mustBegin(t, s, kept)
	last, err := s.LastOperation(t.Context(), in.ID, "")
	must(t, err)
	if now := mustRead(t, s, in.ID); last.ID != in.Operation.ID || now.Operation.ID != in.Operation.ID || !now.Busy {
		t.Errorf("users see %+v, and of the instance %+v", last, now)
	}
	last, err = s.LastOperation(t.Context(), in.ID, kept.ID)
	must(t, err)
	if last.ID != kept.ID {
		t.Errorf("asked for %s, told of %s", kept.ID, last.ID)
	}
}

func oldOperationsAreForgotten(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	var first broker.Operation
	for i := range 25 {
		op := wanting(in.ID, backstay.Update, "small")
		op.Cause = broker.ByBackup
		op = mustBegin(t, s, op)
		must(t, s.FailOperation(t.Context(), op.ID, fmt.Sprint(i)))
		if i == 0 {
			first = op
		}
	}
	_, err := s.Operation(t.Context(), first.ID)
	wantKind(t, err, backstay.NotFound)
	last, err := s.LastOperation(t.Context(), in.ID, first.ID)
	must(t, err)
	if last.ID != in.Operation.ID {
		t.Errorf("the last operation that users see is %+v", last)
	}
}

func operationsAreAwaited(t *testing.T, s broker.Store) {
	in := mustAdd(t, s)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.AwaitOperation(short, in.ID, "", in.Operation.Operation); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for what does not change: %v", err)
	}
	heard := make(chan broker.Operation)
	go func() {
		op, err := s.AwaitOperation(t.Context(), in.ID, in.Operation.ID, in.Operation.Operation)
		if err != nil {
			t.Error(err)
		}
		heard <- op
	}()
	must(t, s.ReportOperation(t.Context(), in.Operation.ID, "It goes on."))
	if op := <-heard; op.Description != "It goes on." {
		t.Errorf("heard of %+v", op)
	}
}

func replacementIsAwaited(t *testing.T, s broker.Store) {
	in := mustAdd(t, s)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.AwaitReplacement(short, in.Operation); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for another operation where there is none: %v", err)
	}
	heard := make(chan error)
	go func() { heard <- s.AwaitReplacement(t.Context(), in.Operation) }()
	_, err := s.ReplaceOperation(t.Context(), newOperation(in.ID, backstay.Delete))
	must(t, err)
	must(t, <-heard)
}
