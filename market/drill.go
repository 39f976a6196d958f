package market

import (
	"context"
	"sync"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/turn"
)

// DrillWish is whether the label of an instance allows drills, where its broker was told otherwise.
type DrillWish struct {
	ID      backstay.InstanceID
	Allowed bool
}

// drillPatience is how long whoever changes the label waits for the broker to hear of it.
const drillPatience = 5 * time.Second

// tellOfLabel has a broker hear at once of a label that allows drills, or does no more. If that fails, it hears of it
// when its instances are looked at.
func (m *Market) tellOfLabel(ctx context.Context, of backstay.BrokerID, u backstay.MetadataUpdate) {
	if _, ok := u.Labels[backstay.DrillLabel]; !ok {
		return
	}
	limited, cancel := context.WithTimeout(ctx, drillPatience)
	defer cancel()
	if err := m.TellDrills(limited, of); err != nil {
		m.Log.Warn("a broker did not hear which drills are allowed; it is tried again", "broker", of, "error", err)
	}
}

// TellDrills tells a broker of which instances the label that allows drills has changed. What was told is recorded
// afterwards: killed in between, the broker is told the same again.
func (m *Market) TellDrills(ctx context.Context, of backstay.BrokerID) error {
	leave, err := m.telling.of(of).Take(ctx) // or what was true before could be heard after what is true now
	if err != nil {
		return err
	}
	defer leave()
	wishes, err := m.Store.UntoldDrills(ctx, of)
	if err != nil || len(wishes) == 0 {
		return err
	}
	b, err := m.broker(ctx, of)
	if err != nil {
		return err
	}
	holder, ok := b.(backstay.DrillHolder)
	for _, w := range wishes {
		if !ok {
			return nil
		}
		err := allowDrills(ctx, holder, w)
		if backstay.KindOf(err) == backstay.Unsupported {
			return nil
		}
		if err == nil {
			err = m.Store.KeepDrillsTold(ctx, w.ID, w.Allowed)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// allowDrills gives a broker that hangs up before those do who wait for their turn.
func allowDrills(ctx context.Context, holder backstay.DrillHolder, w DrillWish) error {
	ctx, cancel := context.WithTimeout(ctx, drillPatience)
	defer cancel()
	return holder.AllowDrills(ctx, w.ID, w.Allowed)
}

// turns are of one broker each: one that hangs keeps nobody from another.
type turns struct {
	mu  sync.Mutex
	all map[backstay.BrokerID]*turn.Turn
}

func (t *turns) of(id backstay.BrokerID) *turn.Turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[backstay.BrokerID]*turn.Turn{}
	}
	if t.all[id] == nil {
		t.all[id] = &turn.Turn{}
	}
	return t.all[id]
}
