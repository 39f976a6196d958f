package broker_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
)

// TestQueuedChangeThatIsNotSoldAnyMore is told of at the next look, long before its window, and waits no longer behind
// the one after that.
func TestQueuedChangeThatIsNotSoldAnyMore(t *testing.T) {
	t.Parallel()
	k := onTuesdays(t)
	k.update(`{"apply_at_maintenance_window": true}`, "M")
	must(t, k.ReviewQueue(t.Context()))
	k.wantSays(k.last(""), backstay.Succeeded, toM)

	k.machine.alter(func(s *simulated) { s.away = true }) // which says nothing of what is sold
	for range 3 {
		must(t, k.ReviewQueue(t.Context()))
	}
	k.machine.alter(func(s *simulated) { s.away = false })
	must(t, k.ReviewQueue(t.Context()))
	if op := k.last(""); !strings.HasSuffix(op.Description, toM) {
		t.Errorf("users are told %+v", op)
	}

	its := &k.Offered.Offerings[0]
	its.Sizes = slices.DeleteFunc(its.Sizes, func(s broker.Size) bool { return s.Name == "M" })
	must(t, k.ReviewQueue(t.Context()))
	k.wantSays(k.last(""), backstay.Succeeded, toM+" As things are now, it could not be done: ", "is not offered here.")
	must(t, k.ReviewQueue(t.Context()))
	k.wantSays(k.last(""), backstay.Failed, "(plan M-dedicated-15)", "waits no longer", "is not offered here.")
	if _, says := k.fetch(); says.Pending.Window != "" {
		t.Errorf("it is pending still: %+v", says.Pending)
	}
	if changed, _, err := k.AwaitChanges(t.Context(), 0); err != nil || !slices.Contains(changed, k.r.InstanceID) {
		t.Errorf("the platform is told that %v have changed, %v", changed, err)
	}
	k.at(k.opening())
	if n := k.maintain(); n != 0 {
		t.Errorf("%d operations are begun for what waits no longer", n)
	}
	k.wantPlan("S")
}

// TestQueuedChangeWithoutRoom waits all the same, since there may be room by then; meanwhile its users are told.
func TestQueuedChangeWithoutRoom(t *testing.T) {
	t.Parallel()
	k := onTuesdays(t)
	k.update(`{"apply_at_maintenance_window": true}`, "M")
	k.machine.alter(func(s *simulated) { s.crowded = true })
	for range 3 {
		must(t, k.ReviewQueue(t.Context()))
		k.wantSays(k.last(""), backstay.Succeeded, toM+" As things are now, it could not be done: The disk is nearly full.")
	}
	k.machine.alter(func(s *simulated) { s.crowded = false })
	must(t, k.ReviewQueue(t.Context()))
	if op := k.last(""); !strings.HasSuffix(op.Description, toM) {
		t.Errorf("with room again, users are told %+v", op)
	}
	k.at(k.opening())
	if n := k.maintain(); n != 1 {
		t.Errorf("%d operations are begun, want 1", n)
	}
	k.wantPlan("M")
}
