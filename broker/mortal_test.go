package broker_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
)

// errKilled is what every call returns that a process which has been killed would have made.
var errKilled = errors.New("the process has been killed")

// fate is how many calls a process has left to live. After the last one it may or may not see what it has done.
type fate struct {
	mu     sync.Mutex
	chance *rand.Rand
	left   int // negative: it lives for ever
}

func (f *fate) live(calls int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = calls
}

// pass tells whether a call is made, and whether whoever makes it lives to see the answer.
func (f *fate) pass() (made, seen bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.left < 0:
		return true, true
	case f.left == 0:
		return false, false
	}
	f.left--
	return f.left > 0 || f.chance.IntN(2) == 0, f.left > 0
}

func try[T any](f *fate, call func() (T, error)) (answer T, err error) {
	made, seen := f.pass()
	if made {
		answer, err = call()
	}
	if !seen {
		err = errKilled
	}
	return answer, err
}

func tryOnly(f *fate, call func() error) error {
	_, err := try(f, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// mortalLedger is what a process that may be killed has of the ledger. It is not killed where it only reads.
type mortalLedger struct {
	noting
	*fate
}

func (l mortalLedger) Arrange(ctx context.Context, a broker.Arrangement) error {
	return tryOnly(l.fate, func() error { return l.noting.Arrange(ctx, a) })
}

func (l mortalLedger) BeginOperation(ctx context.Context, op broker.Operation) (broker.Operation, error) {
	return try(l.fate, func() (broker.Operation, error) { return l.noting.BeginOperation(ctx, op) })
}

func (l mortalLedger) StartOperation(
	ctx context.Context, id backstay.OperationKey, agreed broker.Wanted,
) (broker.Operation, error) {
	return try(l.fate, func() (broker.Operation, error) { return l.noting.StartOperation(ctx, id, agreed) })
}

func (l mortalLedger) GiveUpOperation(
	ctx context.Context, id backstay.OperationKey, r broker.Refusal,
) (broker.Operation, error) {
	return try(l.fate, func() (broker.Operation, error) { return l.noting.GiveUpOperation(ctx, id, r) })
}

func (l mortalLedger) SucceedOperation(
	ctx context.Context, id backstay.OperationKey, description string, s broker.Serving,
) error {
	return tryOnly(l.fate, func() error { return l.noting.SucceedOperation(ctx, id, description, s) })
}

func (l mortalLedger) FailOperation(ctx context.Context, id backstay.OperationKey, description string) error {
	return tryOnly(l.fate, func() error { return l.noting.FailOperation(ctx, id, description) })
}

// mortalBackend is what a process that may be killed has of a machine.
type mortalBackend struct {
	*simulated
	*fate
}

func (b mortalBackend) Apply(ctx context.Context, spec backend.Spec) error {
	return tryOnly(b.fate, func() error { return b.simulated.Apply(ctx, spec) })
}

func (b mortalBackend) Await(ctx context.Context, id backstay.InstanceID, revision int64) (backend.Status, error) {
	return try(b.fate, func() (backend.Status, error) { return b.simulated.Await(ctx, id, revision) })
}
