package tenant_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
)

// ailing is a broker of which all that it knows of is ill.
type ailing struct {
	*brokertest.Memory
	ids    []backstay.InstanceID
	drills map[backstay.InstanceID]bool
}

func (a *ailing) AllowDrills(_ context.Context, id backstay.InstanceID, allowed bool) error {
	a.drills[id] = allowed
	return nil
}

func (a *ailing) Unhealthy(context.Context) (map[backstay.InstanceID]string, error) {
	all := map[backstay.InstanceID]string{}
	for _, id := range a.ids {
		all[id] = "Service instance " + string(id) + " has no memory."
	}
	return all, nil
}

func (a *ailing) Troubles(context.Context) (map[backstay.InstanceID][]backstay.Trouble, error) {
	all := map[backstay.InstanceID][]backstay.Trouble{}
	for _, id := range a.ids {
		all[id] = []backstay.Trouble{{Kind: "archive", Sentence: "The archive of " + string(id) + " is behind."}}
	}
	return all, nil
}

// TestNobodyHearsOfOthers: of what the broker tells by itself, a client hears what is about its own instances, by the ids
// that it gave.
func TestNobodyHearsOfOthers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	sick := &ailing{Memory: h.memory, drills: map[backstay.InstanceID]bool{}}
	h.Broker = sick
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, b := h.client(t, "a", 10), h.client(t, "b", 10)
	r := brokertest.MustProvision(t, a)
	claims, err := h.Instances(ctx, "a")
	must(t, err)
	if len(claims) != 1 || claims[0].ExternalID != string(r.InstanceID) {
		t.Fatalf("the client's instances are %+v", claims)
	}
	id := claims[0].InstanceID
	sick.ids = []backstay.InstanceID{id, "of-nobody"}
	if others, err := h.Instances(ctx, "b"); err != nil || len(others) > 0 {
		t.Errorf("the other client's instances are %+v, %v", others, err)
	}
	if _, err := h.Instances(ctx, "c"); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("nobody's instances: %v", err)
	}
	if !a.Watches(ctx) || !b.Watches(ctx) {
		t.Fatal("they are told of no changes")
	}

	heard := make(chan []backstay.InstanceID, 1)
	waiting, stop := context.WithTimeout(ctx, 3*time.Second)
	defer stop()
	go func() {
		changed, _, _ := b.AwaitChanges(waiting, 0) // until we let it wait no longer
		heard <- changed
	}()
	h.memory.Change(id, func(*backstay.ProvisionRequest) {})
	changed, seen, err := a.AwaitChanges(ctx, 0)
	if err != nil || !slices.Equal(changed, []backstay.InstanceID{r.InstanceID}) || seen == 0 {
		t.Errorf("the client hears of %v until %d, %v", changed, seen, err)
	}
	if others := <-heard; len(others) > 0 {
		t.Errorf("the other client hears of %v", others)
	}

	unhealthy, err := a.Unhealthy(ctx)
	if err != nil || len(unhealthy) != 1 ||
		unhealthy[r.InstanceID] != "Service instance "+string(r.InstanceID)+" has no memory." {
		t.Errorf("the client hears that %q, %v", unhealthy, err)
	}
	troubles, err := a.Troubles(ctx)
	if err != nil || len(troubles) != 1 || len(troubles[r.InstanceID]) != 1 ||
		troubles[r.InstanceID][0].Sentence != "The archive of "+string(r.InstanceID)+" is behind." {
		t.Errorf("the client hears of %q, %v", troubles, err)
	}
	if unhealthy, err := b.Unhealthy(ctx); err != nil || len(unhealthy) > 0 {
		t.Errorf("the other client hears that %q, %v", unhealthy, err)
	}
	if troubles, err := b.Troubles(ctx); err != nil || len(troubles) > 0 {
		t.Errorf("the other client hears of %q, %v", troubles, err)
	}
	must(t, a.AllowDrills(ctx, r.InstanceID, true))
	must(t, b.AllowDrills(ctx, r.InstanceID, false)) // which is another instance
	if !sick.drills[id] {
		t.Errorf("one client says of another one's instances whether drills are allowed: %v", sick.drills)
	}
}
