package broker_test

import (
	"context"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/keepertest"
)

// TestRestoration brings the instances of a ledger back on a machine that has nothing but their repository. What is kept
// of deleted ones is known again, and never forgotten meanwhile.
func TestRestoration(t *testing.T) {
	t.Parallel()
	h, repository := backedUpHouse(t)
	stop := h.run(t)
	r, deleted := h.mustMake(t), h.mustMake(t)
	if op := h.updateMade(t, r, `{"backup": "now"}`); op.State != backstay.Succeeded {
		t.Fatalf("the backup ended as %+v", op)
	}
	_, err := h.Deprovision(t.Context(), backstay.DeprovisionRequest{InstanceID: deleted.InstanceID})
	must(t, err)
	h.mustEnd(t, deleted.InstanceID)
	stop()
	endMachine(t, h.Backends[broker.Local].(*local.Backend))

	ended := make(chan struct{})
	h = h.movedTo(t, repository, &broker.Restoration{End: func() error { close(ended); return nil }})
	h.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	must(t, h.ForgetExpired(t.Context()))
	h.wantArchived(t, deleted.InstanceID, true)
	h.Now = time.Now
	h.run(t)
	select {
	case <-ended:
	case <-time.After(limit):
		t.Fatal("the restoration does not end")
	}
	kept, err := h.Backends[broker.Local].(backend.Archive).Backups(t.Context(), deleted.InstanceID)
	if err != nil || len(kept.List) == 0 || !kept.List[len(kept.List)-1].Final {
		t.Errorf("of the deleted instance is kept %+v, %v", kept, err)
	}
	told, err := h.told(t.Context(), r.InstanceID)
	if err != nil || told["last_backup"] == nil {
		t.Errorf("of the restored instance is told %v, %v", told, err)
	}
	if op := h.updateMade(t, r, `{"backup": "now"}`); op.State != backstay.Succeeded {
		t.Errorf("an update of the restored instance ended as %+v", op)
	}
}

// endMachine ends a keeper of this process with all of its engines, whose ports are free then.
func endMachine(t *testing.T, instances *local.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	go instances.Stop(ctx) // which then waits for the end of this process
	must(t, wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) {
		soon, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = instances.Held(soon)
		return err == nil, nil
	}))
}

// movedTo is a broker of the same ledger on another machine with the same repository.
func (h *house) movedTo(t *testing.T, repository string, restoration *broker.Restoration) *house {
	t.Helper()
	c := keepertest.Config(t, 2)
	c.Engines["redis"] = redis.Engine{}
	c.Repository = backstay.Repository{Dir: repository}
	instances, _ := keepertest.Run(t, c)
	return &house{store: h.store, Broker: &broker.Broker{
		Store: h.Store, Backends: map[string]backend.Backend{broker.Local: instances}, Certifier: h.Certifier,
		Offered: h.Offered, Key: h.Key, Now: h.Now, Log: h.Log, Restoration: restoration,
	}}
}
