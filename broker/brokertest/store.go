package brokertest

import (
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
)

// RunStore checks that the stores that open returns keep the contract of [broker.Store].
func RunStore(t *testing.T, open func(t testing.TB) broker.Store) {
	s := open(t)
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s broker.Store)
	}{
		{"AnInstanceIsAddedOnce", anInstanceIsAddedOnce},
		{"AbsentIsNotFound", absentIsNotFound},
		{"ACreateIsAcceptedWhenItServes", aCreateIsAcceptedWhenItServes},
		{"AnUpdateIsAcceptedWhenItServes", anUpdateIsAcceptedWhenItServes},
		{"AFailedUpdateLeavesWhatWasAccepted", aFailedUpdateLeavesWhatWasAccepted},
		{"TheFirstReasonStays", theFirstReasonStays},
		{"OneOperationAtATime", oneOperationAtATime},
		{"AReplacedOperationSaysNothingMore", aReplacedOperationSaysNothingMore},
		{"ADeleteIsBegunOnce", aDeleteIsBegunOnce},
		{"AWaitingOperationStandsInNobodysWay", aWaitingOperationStandsInNobodysWay},
		{"AWishReplacesAnother", aWishReplacesAnother},
		{"AWishIsWithdrawn", aWishIsWithdrawn},
		{"NothingIsArrangedBesideAnOperation", nothingIsArrangedBesideAnOperation},
		{"AnOperationIsPostponed", anOperationIsPostponed},
		{"ANewerWishIsNotPostponed", aNewerWishIsNotPostponed},
		{"AWishIsRemarkedOn", aWishIsRemarkedOn},
		{"WhatWasPostponedFails", whatWasPostponedFails},
		{"WindowsAreKept", windowsAreKept},
		{"TheScheduleTellsWhatIsDue", theScheduleTellsWhatIsDue},
		{"ChangesAreAwaited", changesAreAwaited},
		{"UsersSeeTheirOwnOperations", usersSeeTheirOwnOperations},
		{"OldOperationsAreForgotten", oldOperationsAreForgotten},
		{"OperationsAreAwaited", operationsAreAwaited},
		{"ReplacementIsAwaited", replacementIsAwaited},
		{"GenerationsAreRaised", generationsAreRaised},
		{"EntriesAreOfIdleInstances", entriesAreOfIdleInstances},
		{"ARemovedInstanceTakesItsBindings", aRemovedInstanceTakesItsBindings},
		{"ArchivesOutliveTheirInstance", archivesOutliveTheirInstance},
		{"TheLastInventoryIsKept", theLastInventoryIsKept},
		{"ABindingIsAddedOnce", aBindingIsAddedOnce},
		{"ManyAddOneInstance", manyAddOneInstance},
		{"ManyAddOneBinding", manyAddOneBinding},
		{"ManyBeginOneOperation", manyBeginOneOperation},
		{"ManyEndOneOperation", manyEndOneOperation},
		{"ManyWishAndStart", manyWishAndStart},
		{"NoChangeIsMissed", noChangeIsMissed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, s)
		})
	}
}

func newOperation(in backstay.InstanceID, t backstay.OperationType) broker.Operation {
	return broker.Operation{
		Operation: backstay.Operation{Type: t, State: backstay.InProgress, Description: "It begins."},
		ID:        backstay.OperationKey(uuid.NewString()), InstanceID: in, Cause: broker.ByUser,
	}
}

// wanting is an operation that brings an instance to the plan.
func wanting(in backstay.InstanceID, t backstay.OperationType, plan backstay.ServicePlanID) broker.Operation {
	op := newOperation(in, t)
	op.Wanted = broker.Wanted{PlanID: plan, Parameters: []byte("parameters of " + plan), Spec: []byte("spec of " + plan)}
	return op
}

func newInstance() (broker.Instance, broker.Operation) {
	in := broker.Instance{
		ID: backstay.InstanceID(uuid.NewString()), ServiceID: "service", PlanID: "small",
		OrganizationID: "organization", SpaceID: "space", Parameters: []byte("parameters of small"), Backend: "local",
	}
	return in, wanting(in.ID, backstay.Create, "small")
}

func mustAdd(t *testing.T, s broker.Store) broker.Instance {
	t.Helper()
	in, create := newInstance()
	kept, err := s.AddInstance(t.Context(), in, create)
	must(t, err)
	return kept
}

var served = broker.Serving{
	Endpoint: backstay.Endpoint{Host: "h", Port: 20000}, Reads: backstay.Endpoint{Host: "r", Port: 20001}, Build: "15.1",
}

// mustServe returns an instance that has been created.
func mustServe(t *testing.T, s broker.Store) broker.Instance {
	t.Helper()
	in := mustAdd(t, s)
	must(t, s.SucceedOperation(t.Context(), in.Operation.ID, "It serves.", served))
	return mustRead(t, s, in.ID)
}

func mustRead(t *testing.T, s broker.Store, id backstay.InstanceID) broker.Instance {
	t.Helper()
	in, err := s.Instance(t.Context(), id)
	must(t, err)
	return in
}

func mustBegin(t *testing.T, s broker.Store, op broker.Operation) broker.Operation {
	t.Helper()
	begun, err := s.BeginOperation(t.Context(), op)
	must(t, err)
	return begun
}

// wantAccepted checks what is accepted of an instance, and the generation of it; no plan is nothing.
func wantAccepted(t *testing.T, s broker.Store, id backstay.InstanceID, plan string, generation int64) {
	t.Helper()
	in := mustRead(t, s, id)
	spec, parameters := "spec of "+plan, "parameters of "+plan
	if plan == "" {
		if in.Spec != nil || in.Generation != 0 {
			t.Errorf("accepted is %q as generation %d, want nothing", in.Spec, in.Generation)
		}
		return
	}
	if string(in.Spec) != spec || string(in.Parameters) != parameters ||
		string(in.PlanID) != plan || in.Generation != generation {
		t.Errorf("accepted is plan %s, %q, %q as generation %d; want that of %s as %d",
			in.PlanID, in.Parameters, in.Spec, in.Generation, plan, generation)
	}
}

func anInstanceIsAddedOnce(t *testing.T, s broker.Store) {
	given, create := newInstance()
	kept, err := s.AddInstance(t.Context(), given, create)
	must(t, err)
	op := kept.Operation
	if op.CreatedAt.IsZero() || string(op.Spec) != "spec of small" || string(kept.Parameters) != "parameters of small" ||
		kept.SpaceID != "space" || kept.Backend != "local" || op.Generation != 1 || op.ID != create.ID || !kept.Busy {
		t.Errorf("kept %+v", kept)
	}
	wantAccepted(t, s, given.ID, "", 0)
	other, again := given, wanting(given.ID, backstay.Create, "large")
	other.SpaceID = "another space"
	kept, err = s.AddInstance(t.Context(), other, again)
	must(t, err)
	if kept.SpaceID != given.SpaceID || kept.Operation.ID != create.ID {
		t.Errorf("a second AddInstance changed what is kept to %+v", kept)
	}
}

func absentIsNotFound(t *testing.T, s broker.Store) {
	id, key := backstay.InstanceID(uuid.NewString()), backstay.OperationKey(uuid.NewString())
	_, err := s.Instance(t.Context(), id)
	wantKind(t, err, backstay.NotFound)
	_, err = s.BeginOperation(t.Context(), newOperation(id, backstay.Delete))
	wantKind(t, err, backstay.NotFound)
	_, err = s.ReplaceOperation(t.Context(), newOperation(id, backstay.Delete))
	wantKind(t, err, backstay.NotFound)
	_, err = s.StartOperation(t.Context(), key, broker.Wanted{})
	wantKind(t, err, backstay.NotFound)
	_, err = s.Operation(t.Context(), key)
	wantKind(t, err, backstay.NotFound)
	_, err = s.LastOperation(t.Context(), id, key)
	wantKind(t, err, backstay.NotFound)
	_, err = s.AwaitOperation(t.Context(), id, "", backstay.Operation{})
	wantKind(t, err, backstay.NotFound)
	_, err = s.GiveUpOperation(t.Context(), key, broker.Refusal{Reason: "No."})
	wantKind(t, err, backstay.NotFound)
	must(t, s.ReportOperation(t.Context(), key, "It goes on."))
	must(t, s.FailOperation(t.Context(), key, "It did not."))
	must(t, s.PostponeOperation(t.Context(), key, broker.Refusal{Reason: "Not now."}))
	wantKind(t, s.Arrange(t.Context(), arranging(id)), backstay.NotFound)
	must(t, s.CondemnInstance(t.Context(), id))
	must(t, s.RemoveInstance(t.Context(), id))
	_, err = s.Binding(t.Context(), backstay.BindingID(uuid.NewString()))
	wantKind(t, err, backstay.NotFound)
	must(t, s.RemoveBinding(t.Context(), backstay.BindingID(uuid.NewString())))
	_, err = s.AddBinding(t.Context(), broker.Binding{
		ID: backstay.BindingID(uuid.NewString()), InstanceID: id, Username: "u", Password: []byte("p"),
	})
	wantKind(t, err, backstay.NotFound)
}

func entriesAreOfIdleInstances(t *testing.T, s broker.Store) {
	entry := func(id backstay.InstanceID) *broker.Entry {
		all, err := s.Entries(t.Context())
		must(t, err)
		for i := range all {
			if all[i].ID == id {
				return &all[i]
			}
		}
		return nil
	}
	in := mustAdd(t, s)
	if e := entry(in.ID); e != nil {
		t.Errorf("listed while it is being created: %+v", e)
	}
	must(t, s.SucceedOperation(t.Context(), in.Operation.ID, "It serves.", broker.Serving{}))
	if e := entry(in.ID); e == nil || *e != (broker.Entry{ID: in.ID, Backend: "local", Generation: 1}) {
		t.Errorf("listed as %+v", e)
	}
	must(t, s.NoteServing(t.Context(), in.ID, broker.Serving{Build: served.Build}))
	must(t, s.NoteServing(t.Context(), in.ID, broker.Serving{Endpoint: served.Endpoint, Build: "0.1"}))
	must(t, s.NoteServing(t.Context(), in.ID, broker.Serving{Reads: served.Reads}))
	other := broker.Serving{
		Endpoint: backstay.Endpoint{Host: "other", Port: 1}, Reads: backstay.Endpoint{Host: "others", Port: 2}, Build: "0.2",
	}
	must(t, s.NoteServing(t.Context(), in.ID, other)) // the first that was seen stays
	if e := entry(in.ID); e == nil || e.Serving != served {
		t.Errorf("listed as %+v, want it as it serves", e)
	}
	failed := mustAdd(t, s)
	must(t, s.FailOperation(t.Context(), failed.Operation.ID, "It did not."))
	if e := entry(failed.ID); e == nil || e.Generation != 0 {
		t.Errorf("one that was never created is listed as %+v", e)
	}
}

func aRemovedInstanceTakesItsBindings(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	b := broker.Binding{ID: backstay.BindingID(uuid.NewString()), InstanceID: in.ID, Username: "u", Password: []byte("p")}
	_, err := s.AddBinding(t.Context(), b)
	must(t, err)
	must(t, s.RemoveInstance(t.Context(), in.ID))
	_, err = s.Binding(t.Context(), b.ID)
	wantKind(t, err, backstay.NotFound)
	_, err = s.Instance(t.Context(), in.ID)
	wantKind(t, err, backstay.NotFound)
	_, err = s.Operation(t.Context(), in.Operation.ID)
	wantKind(t, err, backstay.NotFound)
}

func aBindingIsAddedOnce(t *testing.T, s broker.Store) {
	in := mustAdd(t, s)
	b := broker.Binding{
		ID: backstay.BindingID(uuid.NewString()), InstanceID: in.ID, Username: "u1",
		Password: []byte("first"), Parameters: []byte("given"),
	}
	_, err := s.AddBinding(t.Context(), b)
	must(t, err)
	b.Password, b.Parameters = []byte("second"), nil
	kept, err := s.AddBinding(t.Context(), b)
	must(t, err)
	if string(kept.Password) != "first" || string(kept.Parameters) != "given" ||
		kept.Username != "u1" || kept.InstanceID != in.ID {
		t.Errorf("a second AddBinding changed what is kept to %+v", kept)
	}
	if kept.Credentials != nil {
		t.Error("a binding that nobody was told has credentials")
	}
	for _, told := range []string{"told", "told anew"} {
		must(t, s.KeepCredentials(t.Context(), b.ID, []byte(told)))
		kept, err = s.Binding(t.Context(), b.ID)
		must(t, err)
		all, err := s.Bindings(t.Context(), in.ID)
		must(t, err)
		if string(kept.Credentials) != told || len(all) != 1 || string(all[0].Credentials) != told {
			t.Errorf("kept are the credentials %q, listed as %+v; want %q", kept.Credentials, all, told)
		}
	}
	must(t, s.RemoveBinding(t.Context(), b.ID))
	_, err = s.Binding(t.Context(), b.ID)
	wantKind(t, err, backstay.NotFound)
	wantKind(t, s.KeepCredentials(t.Context(), b.ID, []byte("told")), backstay.NotFound)
}
