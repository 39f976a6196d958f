package market_test

import (
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// shaker is a broker that holds drills, unless it fails.
type shaker struct {
	*listener

	mu      sync.Mutex
	failing error
	hung    chan struct{} // given something by each call that then hangs; nil: none does
	allowed map[backstay.InstanceID]bool
}

func (s *shaker) AllowDrills(ctx context.Context, id backstay.InstanceID, allowed bool) error {
	if s.hung != nil {
		s.hung <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing == nil {
		s.allowed[id] = allowed
	}
	return s.failing
}

func (s *shaker) heard() map[backstay.InstanceID]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.allowed)
}

func (s *shaker) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = err
}

// TestTheBrokerHearsOfTheLabel as soon as somebody sets it or takes it away, once; or later, if it could not be told.
func TestTheBrokerHearsOfTheLabel(t *testing.T) {
	t.Parallel()
	b := &shaker{listener: newListener(), allowed: map[backstay.InstanceID]bool{}}
	m := markettest.NewWith(t, b)
	f := newFloorOf(t, m, b.listener)
	id, other := f.create(t, "db"), f.create(t, "other")
	label := func(of backstay.InstanceID, value *string) {
		t.Helper()
		update := market.InstanceUpdate{Update: market.Update{
			Metadata: backstay.MetadataUpdate{Labels: map[string]*string{backstay.DrillLabel: value}},
		}}
		_, _, err := f.UpdateInstance(t.Context(), markettest.Admin, of, update)
		must(t, err)
	}
	heard := func(want map[backstay.InstanceID]bool) {
		t.Helper()
		if got := b.heard(); !maps.Equal(got, want) {
			t.Errorf("the broker heard %v, want %v", got, want)
		}
	}
	wanted, never := backstay.DrillWanted, "never"
	label(other, &never)
	heard(map[backstay.InstanceID]bool{})
	label(id, &wanted)
	heard(map[backstay.InstanceID]bool{id: true})
	must(t, m.TellDrills(t.Context(), markettest.Broker.ID))
	heard(map[backstay.InstanceID]bool{id: true})

	b.fail(backstay.Errorf(backstay.Unavailable, "It is away."))
	label(id, nil)
	heard(map[backstay.InstanceID]bool{id: true})
	b.fail(nil)
	must(t, m.TellDrills(t.Context(), markettest.Broker.ID))
	heard(map[backstay.InstanceID]bool{id: false})
}

// TestABrokerThatHangsIsNotWaitedFor by those who tell others something, nor for longer than they want by anybody.
func TestABrokerThatHangsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	b := &shaker{listener: newListener(), allowed: map[backstay.InstanceID]bool{}, hung: make(chan struct{})}
	m := markettest.NewWith(t, b)
	f := newFloorOf(t, m, b.listener)
	id, wanted := f.create(t, "db"), backstay.DrillWanted
	var labelled sync.WaitGroup
	labelled.Go(func() {
		_, _, err := f.UpdateInstance(t.Context(), markettest.Admin, id, market.InstanceUpdate{Update: market.Update{
			Metadata: backstay.MetadataUpdate{Labels: map[string]*string{backstay.DrillLabel: &wanted}},
		}})
		if err != nil {
			t.Error(err)
		}
	})
	<-b.hung
	impatient, giveUp := context.WithCancel(t.Context())
	giveUp()
	if err := m.TellDrills(impatient, markettest.Broker.ID); err == nil {
		t.Error("it is told two things at once")
	}
	must(t, m.TellDrills(t.Context(), "another"))
	labelled.Wait() // after drillPatience, though the broker hangs for ever
}
