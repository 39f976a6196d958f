package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/lag"
)

const (
	readsPause = time.Second
	// hearing is for how long a standby need not say how it follows, and is read from. The way to it is a long one.
	hearing = 3 * time.Second
	// closing is for how long sessions are ended where nobody reads any more: the cluster's machines may lead some there
	// that have not heard of it.
	closing = time.Minute
	// warnPause is how long it takes until what goes on to fail is told again.
	warnPause = time.Minute
)

// readers is what is known of those who read from an instance's replicas, and of the nodes that follow.
type readers struct {
	begun   sync.Once
	awake   chan struct{}
	routing sync.Mutex // held by whoever has reads go elsewhere

	mu     sync.Mutex // guards what follows
	looked bool       // at all nodes, while the primary answered
	nodes  map[string]*trail
	now    led
	other  chan struct{} // closed when now is another one
}

// trail is what was seen of one node that follows.
type trail struct {
	id      string // of the pod
	started time.Time
	gauge   lag.Gauge
	asked   time.Time
	unheard time.Time // since when it does not say how it follows; zero: it does
	shut    time.Time // since when it is not read from; zero: it is
	goesOn  bool      // what its readers are at could not be ended
	// behind counts what it had to be told of users, and told says which of that it knows: what a platform before this one
	// was in the middle of, nobody knows.
	behind, told int64
}

// led is who serves reads.
type led struct {
	to         []string // nodes
	late       []string // that are not among them since what their clients would read is too old
	isPrimarys bool
	several    bool             // standbys
	lags       map[string]int64 // seconds that what is read from each may be old
}

func (l led) equals(o led) bool {
	return slices.Equal(l.to, o.to) && slices.Equal(l.late, o.late) && l.isPrimarys == o.isPrimarys &&
		l.several == o.several && maps.Equal(l.lags, o.lags)
}

// troubles says which nodes are too far behind.
func (l led) troubles(limit time.Duration) []backstay.Trouble {
	if len(l.late) == 0 {
		return nil
	}
	standby := l.late[0]
	if l.several {
		standby = ""
	}
	return []backstay.Trouble{{Kind: lag.Trouble, Sentence: lag.Sentence(l.late, standby, l.isPrimarys, limit)}}
}

// noteEnd notes whether what readers are at on a node was ended, and tells whether it is the first time that it was
// not.
func (rd *readers) noteEnd(p pod, err error) (news bool) {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	t := rd.of(p)
	news = err != nil && !t.goesOn
	t.goesOn = err != nil
	return news
}

func newReaders() readers {
	return readers{awake: make(chan struct{}, 1), nodes: map[string]*trail{}, other: make(chan struct{})}
}

func (rd *readers) wake() {
	select {
	case rd.awake <- struct{}{}:
	default:
	}
}

func (rd *readers) tell() led {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	return rd.now
}

// leadReads has reads be led from now on to whom is fit.
func (in *instance) leadReads() {
	in.readers.begun.Do(func() { in.b.all.Go(func() { in.keepReads(in.b.ctx) }) })
}

// keepReads looks at all nodes every now and then, until the instance is gone or ctx ends.
func (in *instance) keepReads(ctx context.Context) {
	ticker, warned := time.NewTicker(readsPause), time.Time{}
	defer ticker.Stop()
	for ctx.Err() == nil {
		r, known := in.known()
		if !known || r.Removing {
			return
		}
		if in.gaugeAll(ctx, r) {
			err := in.direct(ctx)
			if now := in.b.Now(); err != nil && now.Sub(warned) > warnPause {
				warned = now
				in.b.Log.Warn("reads of an instance cannot be led elsewhere", "instance", in.id, "error", err)
			}
		}
		select {
		case <-ctx.Done():
		case <-in.readers.awake:
		case <-ticker.C:
		}
	}
}

// company is a primary and the nodes that follow it, each with a way into it.
type company struct {
	primary   engine.Node
	reader    engine.HostedReader
	followers map[pod]engine.Node
}

// company is empty where there is no primary, or nobody can say how nodes follow.
func (in *instance) company(r record) (c company, err error) {
	w, err := in.b.wishFor(r, r.standing())
	if err == nil {
		err = in.b.synced()
	}
	v := in.b.view(in.id)
	reader, ok := in.b.Engines[r.Spec.Engine].(engine.HostedReader)
	if err != nil || !ok || v.Primary == "" || in.b.Forwards == nil {
		return company{}, err
	}
	c.primary, _ = in.into(r, w)
	c.reader, c.followers = reader, map[pod]engine.Node{}
	for _, p := range v.Nodes {
		if p.Name != v.Primary && p.ID != "" {
			c.followers[p] = in.intoPod(r, w, p.Name)
		}
	}
	return c, nil
}

// gaugeAll asks all nodes how they follow. It reports whether it is known where reads are to go.
func (in *instance) gaugeAll(ctx context.Context, r record) bool {
	c, err := in.company(r)
	if err != nil || c.reader == nil {
		return false
	}
	rd, limit := &in.readers, r.standing().Reading.Limit()
	began, silent := in.b.Now(), map[string]error{}
	var mu sync.Mutex
	var looks sync.WaitGroup
	for p, n := range c.followers {
		looks.Go(func() {
			if err := in.gauge(ctx, c, p, n, limit); err != nil {
				mu.Lock()
				defer mu.Unlock()
				silent[p.Name] = err
			}
		})
	}
	looks.Wait()
	answers := len(silent) < len(c.followers)
	if !answers { // while the primary does not, nobody can say how they follow
		ctx, cancel := context.WithTimeout(ctx, hearing)
		defer cancel()
		answers = c.reader.(engine.Engine).Probe(ctx, c.primary) == nil
	}
	rd.mu.Lock()
	defer rd.mu.Unlock()
	rd.looked = rd.looked || answers
	there := map[string]bool{}
	for p := range c.followers {
		there[p.Name] = true
	}
	maps.DeleteFunc(rd.nodes, func(name string, _ *trail) bool { return !there[name] })
	for name, err := range silent {
		if t := rd.nodes[name]; answers && t != nil && t.unheard.IsZero() {
			t.unheard = began
			in.b.Log.Info("a node does not say how it follows", "instance", in.id, "node", name, "error", err)
		}
	}
	return rd.looked
}

// of is what was seen of a pod. The caller holds mu.
func (rd *readers) of(p pod) *trail {
	t := rd.nodes[p.Name]
	if t == nil || t.id != p.ID {
		t = &trail{id: p.ID, behind: 1}
		rd.nodes[p.Name] = t
	}
	return t
}

// gauge asks one node how it follows, and tells it of users where that is owed.
func (in *instance) gauge(ctx context.Context, c company, p pod, n engine.Node, limit time.Duration) error {
	rd := &in.readers
	ctx, cancel := context.WithTimeout(ctx, hearing)
	defer cancel()
	f, err := c.reader.Trails(ctx, c.primary, n)
	now := in.b.Now()
	rd.mu.Lock()
	t := rd.of(p)
	if err != nil {
		rd.mu.Unlock()
		return err
	}
	if !t.started.Equal(f.Started) { // by another process, other things are read
		t.started, t.gauge, t.told = f.Started, lag.Gauge{}, 0
	}
	t.asked, t.unheard = now, time.Time{}
	t.gauge.Look(f, now)
	if t.gauge.Judge(now, limit) {
		in.b.Log.Info("how far a node is behind says whether it is read from", "instance", in.id, "node", p.Name,
			"read", !t.gauge.IsLate(), "lag", t.gauge.LagAt(now), "limit", limit)
	}
	owed, behind := t.told != t.behind && t.gauge.Known(), t.behind
	rd.mu.Unlock()
	if owed { // until then it is not read from, and is asked again
		_ = in.catchUpNode(ctx, c, p, n, behind)
	}
	return nil
}

// catchUpNode has a node come to what it has to know of users, up to a count of that.
func (in *instance) catchUpNode(ctx context.Context, c company, p pod, n engine.Node, behind int64) error {
	if err := c.reader.CatchUp(ctx, c.primary, n); err != nil {
		return err
	}
	rd := &in.readers
	rd.mu.Lock()
	defer rd.mu.Unlock()
	t := rd.of(p)
	t.told = max(t.told, behind)
	return nil
}

// followers is what is known of the nodes that follow. The caller holds mu.
func (rd *readers) followers(v view, r record, now time.Time) (all []follower, next led) {
	next.lags = map[string]int64{}
	for _, p := range v.Nodes {
		if p.Name == v.Primary || p.ID == "" {
			continue
		}
		t := rd.of(p)
		all = append(all, follower{
			name: p.Name, ready: p.Ready, followed: t.gauge.Known(), late: t.gauge.IsLate(),
			mute:  !t.unheard.IsZero() && now.Sub(t.unheard) >= hearing,
			knows: t.told == t.behind && len(r.Drops) == 0,
		})
		if t.gauge.IsLate() {
			next.late = append(next.late, p.Name)
		}
		if t.gauge.Known() {
			next.lags[p.Name] = int64(t.gauge.LagAt(t.asked) / time.Second)
		}
	}
	next.several = len(all) > 1
	return all, next
}

// direct has reads go where they are to go now, and ends the sessions where nobody reads any more.
func (in *instance) direct(ctx context.Context) error {
	rd := &in.readers
	rd.routing.Lock()
	defer rd.routing.Unlock()
	r, known := in.known()
	if !known || r.Removing {
		return nil
	}
	v, now := in.b.view(in.id), in.b.Now()
	rd.mu.Lock()
	followers, next := rd.followers(v, r, now)
	to, shut := route(v.Primary, followers, r.standing().Reading.Most())
	ends := rd.closing(to, shut, now)
	rd.mu.Unlock()
	next.to, next.isPrimarys = to, slices.Equal(to, []string{v.Primary})
	if err := in.label(ctx, v, to); err != nil {
		return err
	}
	rd.mu.Lock()
	if !rd.now.equals(next) {
		rd.now = next
		close(rd.other)
		rd.other = make(chan struct{})
		in.wake()
	}
	rd.mu.Unlock()
	in.endReaders(ctx, r, ends)
	return nil
}

// closing is where sessions are to be ended. The caller holds mu.
func (rd *readers) closing(to, shut []string, now time.Time) (ends []string) {
	for _, name := range to {
		if t := rd.nodes[name]; t != nil {
			t.shut = time.Time{}
		}
	}
	for _, name := range shut {
		t := rd.nodes[name]
		if t.shut.IsZero() {
			t.shut = now
		}
		if t.told != t.behind || now.Sub(t.shut) < closing {
			ends = append(ends, name)
		}
	}
	return ends
}

// label has the service for reads lead to these nodes, and to no others: first to whom it leads then, so that it leads
// somewhere all the while.
func (in *instance) label(ctx context.Context, v view, to []string) error {
	for _, wanted := range []bool{true, false} {
		for _, p := range v.Nodes {
			if serves := slices.Contains(to, p.Name); serves != wanted || p.Reads == wanted || p.ID == "" {
				continue
			}
			if err := in.b.labelPod(ctx, p, wanted); err != nil {
				return fmt.Errorf("label %s: %w", p.Name, err)
			}
		}
	}
	return nil
}

// labelPod labels that pod, and no other one of its name. One that is no more has no label.
func (b *Backend) labelPod(ctx context.Context, p pod, serves bool) error {
	var value any
	if serves {
		value = labelled
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	o := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{
		"uid": p.ID, "labels": map[string]any{readsLabel: value},
	}}}
	patch, err := o.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = b.in(pods).Patch(ctx, p.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
	if isAnother(err) {
		return nil
	}
	return classified(err)
}

// endReaders ends what those are at who have read from these nodes. One that does not answer is not waited for: as soon
// as it does, it is asked again.
func (in *instance) endReaders(ctx context.Context, r record, names []string) {
	if len(names) == 0 {
		return
	}
	c, err := in.company(r)
	if err != nil || c.reader == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, hearing)
	defer cancel()
	var ends sync.WaitGroup
	for p, n := range c.followers {
		if !slices.Contains(names, p.Name) {
			continue
		}
		ends.Go(func() {
			if err := c.reader.EndReaders(ctx, n); in.readers.noteEnd(p, err) {
				in.b.Log.Info("what readers are at on a standby goes on", "instance", in.id, "node", p.Name, "error", err)
			}
		})
	}
	ends.Wait()
}
