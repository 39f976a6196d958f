package market

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/backstay/backstay"
)

// healthPatience is how long a list of instances waits to hear which of them do not serve.
const healthPatience = time.Second

// tellHealth changes the descriptions of instances that were made and do not serve now, or serve and have a trouble.
// Only what is answered changes: what is recorded says how the last operation ended, and stays.
func (m *Market) tellHealth(ctx context.Context, instances []backstay.Instance) {
	if len(instances) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	brokers := m.brokersOf(ctx, instances)
	reasons := m.unhealthy(ctx, brokers, instances)
	m.renewTroubles(ctx, brokers, instances)
	for i := range instances {
		op := &instances[i].LastOperation
		if reason := reasons[instances[i].ID]; reason != "" && op.State == backstay.Succeeded {
			op.Description = "The service instance does not serve now. " + reason
		}
		if instances[i].Trouble != "" && op.State != backstay.InProgress {
			op.Description = withSentence(op.Description, instances[i].Trouble)
		}
	}
}

// brokersOf are the brokers that are part of this program, and those that somebody has registered of which there are
// instances. One that cannot be opened tells nothing.
func (m *Market) brokersOf(ctx context.Context, instances []backstay.Instance) Brokers {
	all, plans := Brokers{}, []backstay.PlanID{}
	maps.Copy(all, m.Brokers)
	for _, in := range instances {
		if in.PlanID != "" && !slices.Contains(plans, in.PlanID) {
			plans = append(plans, in.PlanID)
		}
	}
	if len(plans) == 0 {
		return all
	}
	l, err := m.Store.ServiceBrokers(ctx, BrokerFilter{PlanIDs: plans})
	if err != nil {
		m.Log.Warn("the brokers of instances are not known", "error", err)
	}
	for _, b := range l.Items {
		if b.URL == "" {
			continue
		}
		sealed, _, err := m.Store.BrokerSecrets(ctx, b.ID)
		if err != nil {
			continue
		}
		if opened, err := m.openBroker(b, sealed); err == nil {
			all[b.ID] = opened
		}
	}
	return all
}

// renewTroubles has the instances whose troubles are recorded tell them as they are now: how full a volume is changes
// from moment to moment. Where that is not known, what is recorded has to do.
func (m *Market) renewTroubles(ctx context.Context, brokers Brokers, instances []backstay.Instance) {
	var troubled []backstay.InstanceID
	for _, in := range instances {
		if in.Trouble != "" {
			troubled = append(troubled, in.ID)
		}
	}
	if len(troubled) == 0 {
		return
	}
	ask := func(b backstay.Broker) (map[backstay.InstanceID][]backstay.Trouble, error) {
		t, ok := b.(backstay.TroubleTeller)
		if !ok {
			return nil, errSilent
		}
		told, err := troublesOf(ctx, t)
		if err != nil {
			return told, err
		}
		now := map[backstay.InstanceID][]backstay.Trouble{}
		for _, id := range troubled {
			now[id] = told[id] // none if it is not told any more
		}
		return now, nil
	}
	told := gather(ctx, m, brokers, instances, ask)
	for i := range instances {
		if troubles, known := told[instances[i].ID]; known && instances[i].Trouble != "" {
			instances[i].Trouble = sentences(troubles)
		}
	}
}

// unhealthy asks all brokers that can tell which instances do not serve, and why.
func (m *Market) unhealthy(
	ctx context.Context, brokers Brokers, instances []backstay.Instance,
) map[backstay.InstanceID]string {
	return gather(ctx, m, brokers, instances, func(b backstay.Broker) (map[backstay.InstanceID]string, error) {
		if t, ok := b.(backstay.HealthTeller); ok {
			return t.Unhealthy(ctx)
		}
		return nil, errSilent
	})
}

// gather asks brokers at once for something about these instances, each about its own.
func gather[T any](
	ctx context.Context, m *Market, brokers Brokers, instances []backstay.Instance,
	ask func(backstay.Broker) (map[backstay.InstanceID]T, error),
) map[backstay.InstanceID]T {
	all := map[backstay.InstanceID]T{}
	var mu sync.Mutex
	var asked sync.WaitGroup
	for id, b := range brokers {
		_, ours := m.Brokers[id]
		if !ours && m.silent.lasts(id, m.now()) {
			continue
		}
		asked.Go(func() {
			told, err := ask(b)
			if err != nil && ctx.Err() != nil {
				m.silent.note(id, m.now())
			}
			own, unknown := m.ownOf(ctx, id, among(told, instances))
			if err = errors.Join(err, unknown); err != nil && backstay.KindOf(err) != backstay.Unsupported {
				m.Log.Warn("the health of instances is not known", "broker", id, "error", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, in := range own {
				all[in] = told[in]
			}
		})
	}
	asked.Wait()
	return all
}

// silence is how long a list of instances asks a broker no more that has not answered one in time.
const silence = 10 * time.Second

// silences remembers which brokers have not answered in time, so that each list does not wait for them anew.
type silences struct {
	mu    sync.Mutex
	since map[backstay.BrokerID]time.Time
}

func (s *silences) lasts(id backstay.BrokerID, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, silent := s.since[id]
	return silent && now.Sub(since) < silence
}

func (s *silences) note(id backstay.BrokerID, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since == nil {
		s.since = map[backstay.BrokerID]time.Time{}
	}
	s.since[id] = now
}

// among are the instances of which something is told.
func among[T any](told map[backstay.InstanceID]T, instances []backstay.Instance) (ids []backstay.InstanceID) {
	for _, in := range instances {
		if _, ok := told[in.ID]; ok {
			ids = append(ids, in.ID)
		}
	}
	return ids
}
