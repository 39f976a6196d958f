package brokertest

import (
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
)

// crowd is how many do the same at once.
const crowd = 8

// together runs f for each of a crowd at once, and returns the errors.
func together(f func(i int) error) []error {
	failures := make([]error, crowd)
	var all sync.WaitGroup
	for i := range crowd {
		all.Go(func() { failures[i] = f(i) })
	}
	all.Wait()
	return failures
}

// manyAddOneBinding has many add one binding whose username is made of its id, so that any constraint may be met first.
func manyAddOneBinding(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	for range 20 {
		id := backstay.BindingID(uuid.NewString())
		b := broker.Binding{ID: id, InstanceID: in.ID, Username: "u" + string(id), Password: []byte("p")}
		for _, err := range together(func(int) error { _, err := s.AddBinding(t.Context(), b); return err }) {
			must(t, err)
		}
	}
	b := broker.Binding{InstanceID: in.ID, ID: backstay.BindingID(uuid.NewString()), Username: "u1", Password: []byte("p")}
	_, err := s.AddBinding(t.Context(), b)
	must(t, err)
	b.ID = backstay.BindingID(uuid.NewString())
	if kept, err := s.AddBinding(t.Context(), b); err == nil {
		t.Errorf("two bindings have one username: %+v", kept)
	}
}

func manyAddOneInstance(t *testing.T, s broker.Store) {
	in, _ := newInstance()
	kept := make([]broker.Instance, crowd)
	for _, err := range together(func(i int) (err error) {
		kept[i], err = s.AddInstance(t.Context(), in, wanting(in.ID, backstay.Create, "small"))
		return err
	}) {
		must(t, err)
	}
	for _, k := range kept {
		if k.Operation.ID != kept[0].Operation.ID || k.Operation.Generation != 1 {
			t.Errorf("one is told of %+v, another of %+v", kept[0].Operation, k.Operation)
		}
	}
}

func manyBeginOneOperation(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	begun := 0
	for _, err := range together(func(int) error {
		_, err := s.BeginOperation(t.Context(), wanting(in.ID, backstay.Update, "large"))
		return err
	}) {
		if err == nil {
			begun++
		} else {
			wantKind(t, err, backstay.Busy)
		}
	}
	if op := mustRead(t, s, in.ID).Operation; begun != 1 || op.Generation != 2 {
		t.Errorf("%d operations are begun, the last one as generation %d; want 1, as 2", begun, op.Generation)
	}
}

// manyEndOneOperation has its success, its failure, its progress and a delete in its place come at once: whatever
// was first holds, and nothing waits for each other for ever.
func manyEndOneOperation(t *testing.T, s broker.Store) {
	in := mustServe(t, s)
	op := mustBegin(t, s, wanting(in.ID, backstay.Update, "large"))
	for _, err := range together(func(i int) (err error) {
		switch i % 4 {
		case 0:
			return s.SucceedOperation(t.Context(), op.ID, "It serves.", served)
		case 1:
			return s.FailOperation(t.Context(), op.ID, "It did not.")
		case 2:
			_, err = s.ReplaceOperation(t.Context(), newOperation(in.ID, backstay.Delete))
			return err
		}
		return s.ReportOperation(t.Context(), op.ID, "It goes on.")
	}) {
		must(t, err)
	}
	ended, err := s.Operation(t.Context(), op.ID)
	must(t, err)
	now := mustRead(t, s, in.ID)
	if now.Operation.Type != backstay.Delete || now.Operation.State != backstay.InProgress {
		t.Errorf("the last operation is %+v, want the delete", now.Operation)
	}
	accepted := now.Generation == 2
	if accepted != (ended.State == backstay.Succeeded) || ended.State == backstay.InProgress {
		t.Errorf("the update is %s, and generation %d is accepted", ended.State, now.Generation)
	}
}
