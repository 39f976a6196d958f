package market

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay"
)

// Trouble is a trouble of an instance that its broker tells of, or has told of a moment ago.
type Trouble struct {
	backstay.Trouble
	InstanceID backstay.InstanceID
	Began      time.Time // when it was told first
	Gone       time.Time // since when it is not told any more; zero: it is
}

const (
	troubleEvery = 10 * time.Second // between two looks at what brokers tell
	troubleCalm  = time.Minute      // that a trouble is gone until that is an event: what comes and goes is one trouble
	maxTroubles  = 10               // that an instance has at a time, also those that are gone: each one is events
)

// watchTroubles keeps true what is said of the troubles of a broker's instances, until ctx ends.
func (m *Market) watchTroubles(ctx context.Context, of backstay.BrokerID) error {
	return m.hear(ctx, func() (time.Duration, error) {
		b, err := m.broker(ctx, of)
		if err != nil {
			return 0, err
		}
		if t, ok := b.(backstay.TroubleTeller); ok {
			return troubleEvery, m.NoteTroubles(ctx, of, t)
		}
		return 0, errSilent
	}, func(err error) { m.Log.Warn("not all troubles of instances are known", "broker", of, "error", err) })
}

// NoteTroubles records what a broker tells now of the troubles of its instances. That one begins, and that it has
// ended, is an event each.
func (m *Market) NoteTroubles(ctx context.Context, of backstay.BrokerID, t backstay.TroubleTeller) error {
	told, unknown := troublesOf(ctx, t)
	silent := backstay.KindOf(unknown) == backstay.Unsupported
	own, err := m.ownOf(ctx, of, slices.Collect(maps.Keys(told)))
	if err != nil {
		return err
	}
	maps.DeleteFunc(told, func(id backstay.InstanceID, _ []backstay.Trouble) bool { return !slices.Contains(own, id) })
	known, err := m.Store.Troubles(ctx, of)
	if err != nil {
		return err
	}
	failures := []error{unknown}
	for _, n := range troubleNews(known, told, unknown == nil || silent, m.now()) {
		failures = append(failures, m.recordTrouble(ctx, of, n))
	}
	return errors.Join(failures...)
}

// troublesOf asks a broker for the troubles of instances. Of each instance it takes the first few, each kind once:
// users read all of them, and a broker of somebody else's may tell any number.
func troublesOf(ctx context.Context, t backstay.TroubleTeller) (map[backstay.InstanceID][]backstay.Trouble, error) {
	told, err := t.Troubles(ctx)
	taken := make(map[backstay.InstanceID][]backstay.Trouble, len(told))
	for id, all := range told {
		var few []backstay.Trouble
		for _, t := range all {
			known := slices.ContainsFunc(few, func(f backstay.Trouble) bool { return f.Kind == t.Kind })
			if !known && len(few) < maxTroubles {
				few = append(few, t)
			}
		}
		taken[id] = few
	}
	return taken, err
}

// news is that a trouble has become another one.
type news struct {
	Trouble
	begins, ends bool
}

// troubleNews says what has become of the troubles that are known. Unless all of them are told, one that is not may be
// there all the same.
func troubleNews(
	known []Trouble, told map[backstay.InstanceID][]backstay.Trouble, all bool, now time.Time,
) (changed []news) {
	type key struct {
		id   backstay.InstanceID
		kind string
	}
	left, count := map[key]Trouble{}, map[backstay.InstanceID]int{}
	for _, k := range known {
		left[key{k.InstanceID, k.Kind}] = k
		count[k.InstanceID]++
	}
	for id, troubles := range told {
		for _, t := range troubles {
			before, begun := left[key{id, t.Kind}]
			if !begun && count[id] >= maxTroubles {
				continue
			}
			if !begun {
				count[id]++
			}
			delete(left, key{id, t.Kind})
			after := Trouble{Trouble: t, InstanceID: id, Began: before.Began}
			if !begun {
				after.Began = now
			}
			if after != before {
				changed = append(changed, news{Trouble: after, begins: !begun})
			}
		}
	}
	for _, k := range left {
		switch {
		case !all:
		case k.Gone.IsZero():
			k.Gone = now
			changed = append(changed, news{Trouble: k})
		case now.Sub(k.Gone) >= troubleCalm:
			changed = append(changed, news{Trouble: k, ends: true})
		}
	}
	return changed
}

// recordTrouble records what has become of a trouble. An instance that is gone has none.
func (m *Market) recordTrouble(ctx context.Context, of backstay.BrokerID, n news) error {
	if !n.begins && !n.ends {
		return m.Store.KeepTrouble(ctx, n.Trouble, backstay.Event{})
	}
	l, err := m.Store.Instances(ctx, InstanceFilter{IDs: []backstay.InstanceID{n.InstanceID}})
	if err != nil || len(l.Items) == 0 {
		return err
	}
	in := l.Items[0]
	at, err := m.placeOf(ctx, in.SpaceID)
	if err != nil {
		return absentIsFine(err)
	}
	by, err := m.Store.ServiceBrokers(ctx, BrokerFilter{IDs: []backstay.BrokerID{of}})
	known, err := single(by, err, "Service broker")
	if err != nil {
		return err
	}
	d := details{"trouble": n.Kind, "reason": n.Sentence}
	if n.ends {
		d["began_at"], d["ended_at"] = n.Began.UTC().Format(time.RFC3339), n.Gone.UTC().Format(time.RFC3339)
		return m.Store.EndTrouble(ctx, n.Trouble, instanceEvent(brokerActor(known), "trouble_end", in, at, d))
	}
	return m.Store.KeepTrouble(ctx, n.Trouble, instanceEvent(brokerActor(known), "trouble_begin", in, at, d))
}

// sentences is what users read of all troubles of an instance.
func sentences(troubles []backstay.Trouble) string {
	all := make([]string, len(troubles))
	for i, t := range troubles {
		all[i] = t.Sentence
	}
	return strings.Join(all, " ")
}

// withSentence adds a sentence to a description. Behind one of several lines it is a line of its own.
func withSentence(description, sentence string) string {
	switch {
	case description == "":
		return sentence
	case strings.Contains(description, "\n"):
		return description + "\n" + sentence
	case !strings.HasSuffix(description, "."):
		description += "."
	}
	return description + " " + sentence
}
