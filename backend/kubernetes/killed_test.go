package kubernetes_test

import (
	"context"
	"sync"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/backendtest"
	"github.com/backstay/backstay/backend/kubernetes"
)

// mortal is a backend that ends now and then in the middle of whatever it does, with all that it has not kept in the
// cluster, and is begun anew. A call that this cuts off is made again, as its callers do.
type mortal struct {
	t *testing.T
	c kubernetes.Config

	mu   sync.RWMutex // held by whoever calls
	now  *kubernetes.Backend
	life context.Context
	die  func()
}

func (m *mortal) begin() {
	b, stop := run(m.t, m.c)
	life, die := context.WithCancel(context.Background())
	m.now, m.life = b, life
	m.die = func() { die(); stop() }
}

func (m *mortal) kill() {
	m.die()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begin()
}

// call calls what lives now, again and again while it dies before it answers.
func (m *mortal) call(ctx context.Context, do func(ctx context.Context, b *kubernetes.Backend) error) error {
	for {
		again, err := m.try(ctx, do)
		if !again {
			return err
		}
	}
}

func (m *mortal) try(
	ctx context.Context, do func(ctx context.Context, b *kubernetes.Backend) error,
) (again bool, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.life, cancel)()
	err = do(within, m.now)
	return err != nil && m.life.Err() != nil && ctx.Err() == nil, err
}

func (m *mortal) Inventory(ctx context.Context) (i backend.Inventory, err error) {
	err = m.call(ctx, func(ctx context.Context, b *kubernetes.Backend) error { i, err = b.Inventory(ctx); return err })
	return i, err
}

func (m *mortal) Admit(ctx context.Context, s backend.Spec) error {
	return m.call(ctx, func(ctx context.Context, b *kubernetes.Backend) error { return b.Admit(ctx, s) })
}

func (m *mortal) Names(ctx context.Context, s backend.Spec) (names []string, err error) {
	err = m.call(ctx, func(ctx context.Context, b *kubernetes.Backend) error { names, err = b.Names(ctx, s); return err })
	return names, err
}

func (m *mortal) Apply(ctx context.Context, s backend.Spec) error {
	return m.call(ctx, func(ctx context.Context, b *kubernetes.Backend) error { return b.Apply(ctx, s) })
}

func (m *mortal) Await(ctx context.Context, id backstay.InstanceID, revision int64) (s backend.Status, err error) {
	err = m.call(ctx, func(ctx context.Context, b *kubernetes.Backend) error {
		s, err = b.Await(ctx, id, revision)
		return err
	})
	return s, err
}

func (m *mortal) Unwell(ctx context.Context) (all []backend.Status, err error) {
	err = m.call(ctx, func(ctx context.Context, b *kubernetes.Backend) error { all, err = b.Unwell(ctx); return err })
	return all, err
}

func (m *mortal) Held(ctx context.Context) (held map[backstay.InstanceID]int64, err error) {
	err = m.call(ctx, func(ctx context.Context, b *kubernetes.Backend) error { held, err = b.Held(ctx); return err })
	return held, err
}

func (m *mortal) Remove(ctx context.Context, id backstay.InstanceID) error {
	return m.call(ctx, func(ctx context.Context, b *kubernetes.Backend) error { return b.Remove(ctx, id) })
}

func (m *mortal) CreateUser(
	ctx context.Context, id backstay.InstanceID, u backend.User,
) (c backstay.Credentials, err error) {
	err = m.call(ctx, func(ctx context.Context, b *kubernetes.Backend) error { c, err = b.CreateUser(ctx, id, u); return err })
	return c, err
}

func (m *mortal) DropUser(ctx context.Context, id backstay.InstanceID, name string) error {
	return m.call(ctx, func(ctx context.Context, b *kubernetes.Backend) error { return b.DropUser(ctx, id, name) })
}

// TestBackendIsKilled checks that changes come true whenever the platform dies.
func TestBackendIsKilled(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	m := &mortal{t: t, c: l.config(t, 30140, 30159)}
	m.begin()
	t.Cleanup(func() { l.wantNothing(t) })
	backendtest.RunKilled(t, l.subject(m), m.kill)
}
