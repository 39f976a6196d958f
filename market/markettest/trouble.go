package markettest

import (
	"slices"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// troublesBeginAndEndOnce records one trouble twice, each time as another process would, and its end twice.
func troublesBeginAndEndOnce(t *testing.T, f *fixture) {
	in := f.mustHave(t, "db")
	began := time.Now().Truncate(time.Second)
	trouble := market.Trouble{
		Trouble: backstay.Trouble{Kind: "archive", Sentence: "It is behind."}, InstanceID: in.ID, Began: began,
	}
	begin, end := newEvent("begin", string(in.ID), f.org.ID), newEvent("end", string(in.ID), f.org.ID)
	for range 2 {
		must(t, f.KeepTrouble(t.Context(), trouble, begin))
		must(t, f.EndTrouble(t.Context(), trouble, end)) // it is there
	}
	f.wantTrouble(t, in.ID, "It is behind.", trouble)
	trouble.Gone = began.Add(time.Hour)
	must(t, f.KeepTrouble(t.Context(), trouble, backstay.Event{}))
	f.wantTrouble(t, in.ID, "", trouble)
	for range 2 {
		must(t, f.EndTrouble(t.Context(), trouble, end))
	}
	f.wantTrouble(t, in.ID, "")
	if got := f.types(t, market.EventFilter{}); !slices.Equal(got, []string{"begin", "end"}) {
		t.Errorf("events are %q", got)
	}
	trouble.InstanceID = "unknown"
	must(t, f.KeepTrouble(t.Context(), trouble, begin))
	f.wantTrouble(t, in.ID, "")
}

// wantTrouble checks which troubles the broker has, and what is told of those of the one instance.
func (f *fixture) wantTrouble(t *testing.T, id backstay.InstanceID, sentence string, want ...market.Trouble) {
	t.Helper()
	got, err := f.Troubles(t.Context(), Broker.ID)
	must(t, err)
	same := func(a, b market.Trouble) bool {
		return a.Trouble == b.Trouble && a.InstanceID == b.InstanceID && a.Began.Equal(b.Began) && a.Gone.Equal(b.Gone)
	}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("there are the troubles %+v, want %+v", got, want)
	}
	l, err := f.Instances(t.Context(), market.InstanceFilter{IDs: []backstay.InstanceID{id}})
	must(t, err)
	if l.Items[0].Trouble != sentence {
		t.Errorf("of the instance %q is told, want %q", l.Items[0].Trouble, sentence)
	}
}
