package enginetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// writer counts up in a key, and notes when it began to commit each number and when it was told that it is committed.
type writer struct {
	key     string
	begun   []time.Time // by number; the first number is 0
	told    []time.Time
	longest time.Duration
	mu      sync.Mutex
	err     error
}

// write counts until the context ends, with a pause between two numbers.
func (w *writer) write(ctx context.Context, s Subject, c backstay.Credentials, pause time.Duration) {
	session, err := s.Connect(ctx, c)
	if err != nil {
		w.fail(ctx, err)
		return
	}
	defer session.Close()
	for ctx.Err() == nil {
		w.mu.Lock()
		w.begun = append(w.begun, time.Now())
		w.mu.Unlock()
		if err := session.Set(ctx, w.key, strconv.Itoa(len(w.begun)-1)); err != nil {
			w.fail(ctx, err)
			return
		}
		w.mu.Lock()
		w.told = append(w.told, time.Now())
		w.longest = max(w.longest, w.told[len(w.told)-1].Sub(w.begun[len(w.begun)-1]))
		w.mu.Unlock()
		time.Sleep(pause)
	}
}

func (w *writer) fail(ctx context.Context, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() == nil {
		w.err = err
	}
}

// bounds returns the numbers between which the key's must be, as it was at some moment between from and until.
func (w *writer) bounds(from, until time.Time) (low, high int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	low, high = -1, -1
	for i, at := range w.told {
		if !at.After(from) {
			low = i
		}
	}
	for i, at := range w.begun {
		if !at.After(until) {
			high = i
		}
	}
	return low, high
}

// want wants the number of a restored node to be one of those that the writer wrote between from and until.
func (w *writer) want(t *testing.T, c Session, from, until time.Time) {
	t.Helper()
	got := -1
	if text, err := c.Get(t.Context(), w.key); err == nil {
		if got, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	if low, high := w.bounds(from, until); got < low || got > high {
		t.Errorf("%s is %d, want %d to %d, for a moment from %v to %v", w.key, got, low, high, from, until)
	}
}

// writing starts writers, and returns a function that ends them.
func (s Subject) writing(t *testing.T, n engine.Node, count int, pause time.Duration) (all []*writer, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for i := range count {
		w := &writer{key: fmt.Sprintf("writer%d", i)}
		all = append(all, w)
		c := s.createUser(t, n, newUser())
		writers.Go(func() { w.write(ctx, s, c, pause) })
	}
	end = sync.OnceFunc(func() {
		cancel()
		writers.Wait()
		for _, w := range all {
			if w.err != nil {
				t.Errorf("%s: %v", w.key, w.err)
			}
		}
	})
	t.Cleanup(end)
	return all, end
}

// testBackupWhileWriting wants a backup to keep nobody from writing, and to hold all that was committed before it
// began and nothing that was begun after it has ended.
func testBackupWhileWriting(t *testing.T, s Subject) {
	a := s.archiver(t)
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	writers, end := s.writing(t, n, 4, 0)
	await(t, "commits of all", func() bool { _, high := writers[3].bounds(time.Now(), time.Now()); return high > 20 })
	began := time.Now()
	b := a.mustBackup(t, n)
	ended := time.Now()
	time.Sleep(100 * time.Millisecond)
	end()
	for _, w := range writers {
		if w.longest > 5*time.Second {
			t.Errorf("during the backup a client waited for %v", w.longest)
		}
	}
	copied := a.restored(t, engine.Point{Backup: b.ID, Alone: true})
	s.session(t, s.createUser(t, copied, newUser()), func(c Session) {
		for _, w := range writers {
			w.want(t, c, began, ended)
		}
	})
}

// testMoments restores to random seconds of a node that was written to, killed and backed up twice meanwhile.
func testMoments(t *testing.T, s Subject) {
	a, n, p, first := s.archived(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	w, stop := a.archivedWriter(t, n)
	time.Sleep(3 * time.Second)
	second := a.mustBackupAmidArchive(t, n)
	stop()
	p.Kill(t)
	Serve(t, s.Engine, n)
	further, stop := a.archivedWriter(t, n)
	time.Sleep(3 * time.Second)
	stop()
	last := time.Now()
	a.awaitArchived(t, n, last)
	for range 3 {
		span := int(last.Sub(first.Ended) / time.Second)
		moment := first.Ended.Truncate(time.Second).Add(time.Duration(1+chance.IntN(span)) * time.Second)
		from := first
		if moment.After(second.Ended) && chance.IntN(2) == 0 {
			from = second
		}
		copied := a.restored(t, engine.Point{Backup: from.ID, Until: moment})
		s.session(t, s.createUser(t, copied, newUser()), func(c Session) {
			w.want(t, c, moment, moment)
			further.want(t, c, moment, moment)
		})
	}
	for _, until := range []time.Time{{}, last} { // also where nothing was committed after the moment
		copied := a.restored(t, engine.Point{Backup: second.ID, Until: until})
		s.session(t, s.createUser(t, copied, newUser()), func(c Session) {
			w.want(t, c, last, last)
			further.want(t, c, last, last)
		})
	}
}

// archived serves a node that has been backed up, of an engine that has an archive.
func (s Subject) archived(t *testing.T) (a archiver, n engine.Node, p *Process, b backstay.Backup) {
	t.Helper()
	a, n = s.archiver(t), s.newNode(t)
	p = Serve(t, s.Engine, n)
	b = a.mustBackup(t, n)
	if a.mustArchive(t, n).Until.IsZero() {
		t.Skip("this engine has no archive")
	}
	return a, n, p, b
}

// mustBackupAmidArchive backs up while the keeper goes on archiving.
func (a archiver) mustBackupAmidArchive(t *testing.T, n engine.Node) backstay.Backup {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			archived, err := a.Archive(ctx, n, a.repository, 0, time.Time{})
			if ctx.Err() == nil && (err != nil || len(archived.Gaps) > 0) {
				t.Errorf("Archive, while a backup is taken: %+v, %v", archived, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	defer func() {
		cancel()
		<-done
	}()
	return a.mustBackup(t, n)
}

var writerNumber atomic.Int64

// archivedWriter writes while the keeper archives.
func (a archiver) archivedWriter(t *testing.T, n engine.Node) (w *writer, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w = &writer{key: fmt.Sprintf("moment%d", writerNumber.Add(1))}
	c := a.createUser(t, n, newUser())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.write(ctx, a.Subject, c, 5*time.Millisecond)
	}()
	return w, func() {
		cancel()
		<-done
		if w.err != nil {
			t.Errorf("%s: %v", w.key, w.err)
		}
	}
}

// awaitArchived archives until a moment can be restored.
func (a archiver) awaitArchived(t *testing.T, n engine.Node, moment time.Time) {
	t.Helper()
	for deadline := time.Now().Add(2 * patience); ; time.Sleep(100 * time.Millisecond) {
		archived := a.mustArchive(t, n)
		if len(archived.Gaps) != 0 {
			t.Errorf("there are gaps: %v", archived.Gaps)
		}
		if !archived.Until.Before(moment) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the archive reaches until %v, want %v", archived.Until, moment)
		}
	}
}

// testEndIsArchived wants what was written until a node has ended to be in the archive after one more call, which says
// so where there is one.
func testEndIsArchived(t *testing.T, s Subject) {
	a, n, p, b := s.archived(t)
	s.session(t, s.createUser(t, n, newUser()), func(c Session) { mustSet(t, c, "key", "last") })
	written := time.Now()
	p.Stop(t)
	if archived := a.mustArchive(t, n); !archived.Until.IsZero() && archived.Until.Before(written) {
		t.Errorf("the archive reaches until %v, and the node was written to until %v", archived.Until, written)
	}
	a.wantRestored(t, engine.Point{Backup: b.ID}, "key", "last")
}
