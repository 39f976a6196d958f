package broker_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/broker/brokertest"
)

// TestBackupsSurviveCrashes has the broker die behind each step of a backup, a restore and a delete with a last backup,
// and expects what was written to be restored all the same.
func TestBackupsSurviveCrashes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	h, _ := backedUpHouse(t)
	m := &mortal{t: t, house: h}
	m.start()
	t.Cleanup(func() { m.stop() })
	for _, at := range []struct {
		step string
		do   func(m *mortal, r backstay.ProvisionRequest, dies func())
	}{
		{"broker.update.applied", (*mortal).restoreAsked},
		{"broker.update.backed-up", (*mortal).restoreAsked},
		{"broker.create.placed", (*mortal).restoreNew},
		{"broker.create.applied", (*mortal).restoreNew},
		{"broker.create.awaited", (*mortal).restoreNew},
		{"broker.delete.archived", (*mortal).restoreDeleted},
		{"broker.delete.asked", (*mortal).restoreDeleted},
		{"broker.delete.condemned", (*mortal).restoreDeleted},
		{"broker.delete.removed", (*mortal).restoreDeleted},
		{"broker.delete.recorded", (*mortal).restoreDeleted},
	} {
		t.Run(at.step, func(t *testing.T) {
			m.t = t
			m.dieBehind(at.step, at.do)
		})
	}
}

// dieBehind makes an instance with something in it, and has the broker die behind the step while do restores it.
func (m *mortal) dieBehind(step string, do func(m *mortal, r backstay.ProvisionRequest, dies func())) {
	r := m.begin("")
	m.write(r, "first")
	died := make(chan struct{})
	do(m, r, func() {
		crashes.plan(step, func() {
			m.kill()
			close(died)
		})
	})
	select {
	case <-died:
	case <-time.After(limit):
		m.t.Error("nothing came past the step")
	}
	m.end(r)
	held, err := m.Backends[broker.Local].Held(m.t.Context())
	must(m.t, err)
	if len(held) > 0 {
		m.t.Errorf("left is %v in the backend", held)
	}
}

// restoreAsked restores a backup that the broker dies over: what was written behind it is not there.
func (m *mortal) restoreAsked(r backstay.ProvisionRequest, dies func()) {
	dies()
	m.backUp(r)
	m.write(r, "second")
	m.wantRestored(r.InstanceID, "first")
}

// restoreNew has the broker die over the new instance.
func (m *mortal) restoreNew(r backstay.ProvisionRequest, dies func()) {
	m.backUp(r)
	dies()
	m.wantRestored(r.InstanceID, "first")
}

// restoreDeleted has the broker die over the delete, and restores the last backup.
func (m *mortal) restoreDeleted(r backstay.ProvisionRequest, dies func()) {
	m.backUp(r)
	m.write(r, "second")
	dies()
	m.end(r)
	m.wantRestored(r.InstanceID, "second")
}

// backUp asks for a backup, and waits until it has been taken.
func (m *mortal) backUp(r backstay.ProvisionRequest) {
	m.t.Helper()
	m.ask(backstay.UpdateRequest{
		InstanceID: r.InstanceID, ServiceID: r.ServiceID, Parameters: []byte(`{"backup": "now"}`),
	})
	if op := m.until(r.InstanceID); op.Type != backstay.Update || op.State != backstay.Succeeded {
		m.t.Fatalf("the backup ended as %+v", op)
	}
}

// begin makes an instance, which begins from what the parameters say.
func (m *mortal) begin(parameters string) backstay.ProvisionRequest {
	m.t.Helper()
	r := brokertest.NewRequest(m.t, m.house)
	if parameters != "" {
		r.Parameters = []byte(parameters)
	}
	m.insist(func(ctx context.Context, h *house) error {
		_, err := h.Provision(ctx, r)
		return err
	})
	if op := m.until(r.InstanceID); op.State != backstay.Succeeded {
		m.t.Fatalf("the create ended as %+v", op)
	}
	return r
}

// wantRestored restores the latest backup of an instance into a new one, and ends that.
func (m *mortal) wantRestored(of backstay.InstanceID, want string) {
	m.t.Helper()
	r := m.begin(fmt.Sprintf(`{"restore_from_latest_snapshot_of": %q}`, of))
	if got, err := m.redisOf(r).Get(m.t.Context(), "kept").Result(); err != nil || got != want {
		m.t.Errorf("restored is %q, %v; want %q", got, err, want)
	}
	m.end(r)
}

func (m *mortal) write(r backstay.ProvisionRequest, value string) {
	m.t.Helper()
	must(m.t, m.redisOf(r).Set(m.t.Context(), "kept", value, 0).Err())
}

// redisOf is a client of an instance of Redis, with a binding of its own.
func (m *mortal) redisOf(r backstay.ProvisionRequest) *goredis.Client {
	m.t.Helper()
	var c backstay.Credentials
	id := backstay.BindingID(uuid.NewString())
	m.insist(func(ctx context.Context, h *house) error {
		bound, err := h.Bind(ctx, backstay.BindRequest{InstanceID: r.InstanceID, BindingID: id})
		c = bound.Credentials
		return err
	})
	options, err := goredis.ParseURL(c["uri"].(string))
	must(m.t, err)
	options.TLSConfig = &tls.Config{InsecureSkipVerify: true} // certificates are tried elsewhere
	client := goredis.NewClient(options)
	m.t.Cleanup(func() { client.Close() })
	return client
}
