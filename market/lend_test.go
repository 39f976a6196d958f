package market_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// TestLentKeysEndByThemselves lends two keys: one is returned, the other ends when nobody holds it any more.
func TestLentKeysEndByThemselves(t *testing.T) {
	t.Parallel()
	f := newFloor(t)
	in := f.create(t, "db")
	lend := func(name string, until time.Time) backstay.BindingID {
		id, c, err := f.Lend(t.Context(), markettest.Admin, backstay.Loan{InstanceID: in, Name: name, Until: until})
		must(t, err)
		if c["password"] == nil {
			t.Errorf("%s was lent without credentials", name)
		}
		if e, err := f.Endpoint(t.Context(), markettest.Admin, id); err != nil || e.Port == 0 {
			t.Errorf("the endpoint of %s is %+v, %v", name, e, err)
		}
		return id
	}
	returned, left := lend("returned", time.Now().Add(time.Hour)), lend("left", time.Now().Add(time.Second))
	must(t, f.Return(t.Context(), markettest.Admin, returned))
	f.wantKeys(t, in, "left")

	clock := &handMade{moment: time.Now().Add(2 * time.Hour)}
	f.Market.Now = clock.now
	must(t, f.Hold(t.Context(), []backstay.BindingID{left, returned}, clock.now().Add(time.Hour)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go f.EndExpired(ctx)
	for clock.looks() < 3 { // whoever ends what is over looks at the clock again and again
		time.Sleep(5 * time.Millisecond)
	}
	if !f.broker.has(left) {
		t.Fatal("a key ended that was held")
	}
	clock.add(2 * time.Hour)
	for deadline := time.Now().Add(time.Minute); f.broker.has(left); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a key whose time is over does not end")
		}
	}
	if f.broker.has(returned) {
		t.Error("a returned key is still bound")
	}
	_, _, err := f.Lend(
		t.Context(), backstay.Actor{UserID: "stranger"},
		backstay.Loan{InstanceID: in, Name: "theirs", Until: time.Now().Add(time.Hour)},
	)
	if backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("lent to a stranger: %v", err)
	}
}

// handMade is a clock that stands still until it is moved, and knows how often it was looked at.
type handMade struct {
	mu     sync.Mutex
	moment time.Time
	looked int
}

func (c *handMade) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked++
	return c.moment
}

func (c *handMade) looks() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.looked
}

func (c *handMade) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moment = c.moment.Add(d)
}

func (l *listener) has(id backstay.BindingID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bound[id]
}

func (f *floor) wantKeys(t *testing.T, in backstay.InstanceID, name string) {
	t.Helper()
	l, err := f.Bindings(t.Context(), markettest.Admin, market.BindingFilter{InstanceIDs: []backstay.InstanceID{in}})
	must(t, err)
	if len(l.Items) != 1 || l.Items[0].Name != name {
		t.Errorf("keys are %+v; want %s alone", l.Items, name)
	}
}
