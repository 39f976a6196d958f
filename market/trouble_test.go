package market_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// told is what a broker tells of troubles, and the error that it tells it with.
type told struct {
	troubles map[backstay.InstanceID][]backstay.Trouble
	err      error
}

func (t told) Troubles(context.Context) (map[backstay.InstanceID][]backstay.Trouble, error) {
	return t.troubles, t.err
}

// TestTroublesAreEventsOnce: that a trouble begins is an event, and that it has ended is one, however often it is looked
// for, whoever looks, and though it comes and goes meanwhile. Users read of it for as long as it is there.
func TestTroublesAreEventsOnce(t *testing.T) {
	t.Parallel()
	f := newFloor(t)
	id, other := f.create(t, "db"), f.create(t, "other")
	well, err := f.Instance(t.Context(), markettest.Admin, id)
	must(t, err)
	said := strings.TrimSuffix(well.LastOperation.Description, ".") + "."
	archive := backstay.Trouble{Kind: "archive", Sentence: "The archive is behind: the repository is away."}
	full := backstay.Trouble{Kind: "archive", Sentence: "The archive is behind: the repository is full."}
	proof := backstay.Trouble{Kind: "proof", Sentence: "The newest backup could not be restored."}
	now := time.Now()
	events := []string{"create"}
	for _, step := range []struct {
		what   string
		passes time.Duration
		tells  []backstay.Trouble
		err    error
		says   string
		event  string
	}{
		{what: "nothing is wrong", says: well.LastOperation.Description},
		{"it begins", 10 * time.Second, []backstay.Trouble{archive}, nil, said + " " + archive.Sentence, "trouble_begin"},
		{"it goes on", 10 * time.Hour, []backstay.Trouble{archive}, nil, said + " " + archive.Sentence, ""},
		{"another reason", time.Minute, []backstay.Trouble{full}, nil, said + " " + full.Sentence, ""},
		{"a second one", time.Minute, []backstay.Trouble{full, proof}, nil, said + " " + full.Sentence + " " + proof.Sentence,
			"trouble_begin"},
		{"nobody knows", time.Hour, nil, errors.New("the keeper is away"), said + " " + full.Sentence + " " + proof.Sentence, ""},
		{"the first is gone", time.Minute, []backstay.Trouble{proof}, nil, said + " " + proof.Sentence, ""},
		{"and back", 50 * time.Second, []backstay.Trouble{full, proof}, nil, said + " " + full.Sentence + " " + proof.Sentence,
			""},
		{"and gone", time.Hour, []backstay.Trouble{proof}, nil, said + " " + proof.Sentence, ""},
		{"for long", time.Minute, []backstay.Trouble{proof}, nil, said + " " + proof.Sentence, "trouble_end"},
		{"all are gone", time.Minute, nil, nil, well.LastOperation.Description, ""},
		{"nobody knows of it", time.Hour, nil, errors.New("the keeper is away"), well.LastOperation.Description, ""},
		{"all have ended", time.Second, nil, nil, well.LastOperation.Description, "trouble_end"},
		{"it begins again", time.Second, []backstay.Trouble{archive}, nil, said + " " + archive.Sentence, "trouble_begin"},
	} {
		now = now.Add(step.passes)
		tells := told{map[backstay.InstanceID][]backstay.Trouble{id: step.tells, "unknown": {proof}}, step.err}
		for range 2 { // each by another process
			m := &market.Market{Store: f.Store, Log: f.Log, Now: func() time.Time { return now }}
			if err := m.NoteTroubles(t.Context(), markettest.Broker.ID, tells); !errors.Is(err, step.err) {
				t.Errorf("%s: %v", step.what, err)
			}
		}
		in, err := f.Instance(t.Context(), markettest.Admin, id)
		must(t, err)
		if op := in.LastOperation; op.Description != step.says || op.State != backstay.Succeeded {
			t.Errorf("%s: users are told that it has %s: %q; want %q", step.what, op.State, op.Description, step.says)
		}
		if step.event != "" {
			events = append(events, step.event)
		}
		f.wantEvents(t, id, events...)
	}
	f.wantEvents(t, other, "create")
	l, err := f.Events(t.Context(), markettest.Admin, market.EventFilter{
		TargetIDs: []string{string(id)}, Types: []string{"audit.service_instance.trouble_end"},
	})
	must(t, err)
	var says struct{ Trouble, Reason, Began, Ended string }
	must(t, json.Unmarshal(l.Items[0].Data, &says))
	if e := l.Items[0]; says.Trouble != "archive" || says.Reason != full.Sentence || !e.Actor.Broker ||
		e.SpaceID != f.spaces[0].ID {
		t.Errorf("the end is recorded as %+v with %s", e, e.Data)
	}
	j, err := f.DeleteInstance(t.Context(), markettest.Admin, id)
	f.do(t, j, err)
}

// TestATroubleHidesNothing: what an engine that does not serve says comes first, and rows stay rows.
func TestATroubleHidesNothing(t *testing.T) {
	t.Parallel()
	const sentence = "The archive is behind."
	for _, tc := range []struct{ description, want string }{
		{"", sentence},
		{"It serves", "It serves. " + sentence},
		{"It does not start.", "It does not start. " + sentence},
		{"---\n  name : db", "---\n  name : db\n" + sentence},
	} {
		if got := market.WithSentence(tc.description, sentence); got != tc.want {
			t.Errorf("%q becomes %q, want %q", tc.description, got, tc.want)
		}
	}
}

// sick is a broker of which one instance does not serve.
type sick struct {
	backstay.Broker
	id backstay.InstanceID
}

func (s sick) Unhealthy(context.Context) (map[backstay.InstanceID]string, error) {
	return map[backstay.InstanceID]string{s.id: "The engine has no memory."}, nil
}

// TestASickEngineIsToldFirst, and what else is wrong behind it.
func TestASickEngineIsToldFirst(t *testing.T) {
	t.Parallel()
	f := newFloor(t)
	id := f.create(t, "db")
	tells := told{troubles: map[backstay.InstanceID][]backstay.Trouble{id: {{Kind: "archive", Sentence: "It is behind."}}}}
	must(t, f.NoteTroubles(t.Context(), markettest.Broker.ID, tells))
	m := &market.Market{
		Store: f.Store, Log: f.Log, Brokers: market.Brokers{markettest.Broker.ID: sick{f.broker, id}},
	}
	in, err := m.Instance(t.Context(), markettest.Admin, id)
	must(t, err)
	want := "The service instance does not serve now. The engine has no memory. It is behind."
	if got := in.LastOperation; got.Description != want || got.State != backstay.Succeeded {
		t.Errorf("users are told that it has %s: %q; want %q", got.State, got.Description, want)
	}
}

// troubled is a broker that tells of troubles.
type troubled struct {
	backstay.Broker
	told
}

// TestTroublesAreToldAsTheyAreNow: a sentence has changed since it was recorded, or nothing is wrong any more. Where the
// broker does not answer, users read what it has told last.
func TestTroublesAreToldAsTheyAreNow(t *testing.T) {
	t.Parallel()
	f := newFloor(t)
	id := f.create(t, "db")
	full := func(sentence string) map[backstay.InstanceID][]backstay.Trouble {
		return map[backstay.InstanceID][]backstay.Trouble{id: {{Kind: "storage", Sentence: sentence}}}
	}
	must(t, f.NoteTroubles(t.Context(), markettest.Broker.ID, told{troubles: full("92% are used.")}))
	for _, tc := range []struct {
		what   string
		told   told
		want   string
		absent string
	}{
		{"more is used", told{troubles: full("97% are used.")}, "97% are used.", "92%"},
		{"room was made", told{}, "", "%"},
		{"nobody answers", told{err: errors.New("the keeper is away")}, "92% are used.", "97%"},
	} {
		m := &market.Market{
			Store: f.Store, Log: f.Log, Brokers: market.Brokers{markettest.Broker.ID: troubled{f.broker, tc.told}},
		}
		in, err := m.Instance(t.Context(), markettest.Admin, id)
		must(t, err)
		if got := in.LastOperation.Description; !strings.HasSuffix(got, tc.want) || strings.Contains(got, tc.absent) {
			t.Errorf("%s: users are told %q", tc.what, got)
		}
	}
}

// TestTroublesAreBounded: a broker of somebody else's that tells of any number of troubles, others each time, fills neither
// what users read nor the audit events.
func TestTroublesAreBounded(t *testing.T) {
	t.Parallel()
	f := newFloor(t)
	id := f.create(t, "db")
	now := time.Now()
	for round := range 3 {
		var all []backstay.Trouble
		for i := range 300 {
			all = append(all, backstay.Trouble{Kind: fmt.Sprintf("k%d-%d", round, i/2), Sentence: "It is bad."})
		}
		tells := told{map[backstay.InstanceID][]backstay.Trouble{id: all}, nil}
		m := &market.Market{
			Store: f.Store, Log: f.Log, Brokers: market.Brokers{markettest.Broker.ID: troubled{f.broker, tells}},
			Now: func() time.Time { return now },
		}
		must(t, m.NoteTroubles(t.Context(), markettest.Broker.ID, tells))
		for who, reader := range map[string]*market.Market{"as it was recorded": f.Market, "as it is now": m} {
			in, err := reader.Instance(t.Context(), markettest.Admin, id)
			must(t, err)
			if said := in.LastOperation.Description; len(said) > 1000 || round == 0 && !strings.Contains(said, "It is bad.") {
				t.Errorf("%s users read %d bytes: %.200q", who, len(said), said)
			}
		}
		now = now.Add(time.Second)
	}
	l, err := f.Store.Events(t.Context(), market.EventFilter{
		TargetIDs: []string{string(id)}, Types: []string{"audit.service_instance.trouble_begin"},
	})
	must(t, err)
	if len(l.Items) != 10 {
		t.Errorf("%d events", len(l.Items))
	}
}
