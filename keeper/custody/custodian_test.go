package custody_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/custody"
)

// known returns a custody that knows one instance, which is gone, by its record.
func known(t *testing.T, id backstay.InstanceID, now func() time.Time) *custody.Custody {
	t.Helper()
	c := &custody.Custody{
		Dir: t.TempDir(), Repository: backstay.Repository{Dir: t.TempDir()}, Log: slog.New(slog.DiscardHandler),
		Engines: map[string]engine.Engine{"redis": redis.Engine{}}, Now: now,
	}
	record, err := json.Marshal(custody.Record{
		Kept: backend.Backups{
			Instance: id, Engine: "redis", Version: "7.0", List: []backstay.Backup{{ID: "1", Ended: time.Now()}},
		},
		Policy: backend.BackupPolicy{
			Window: "02:30-03:00", Days: 7, Final: 35, Key: backstay.Secret(strings.Repeat("5a", 32)),
		},
		Leaving: true,
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(c.Dir, string(id)+".json"), record, 0o600)
	}
	if err := errors.Join(err, c.Load()); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestLastWishIsKept: backups are kept for as long as was wanted last, also where the custodian was busy when that changed.
func TestLastWishIsKept(t *testing.T) {
	t.Parallel()
	const id = "0e244c2f-35b6-4e59-b6c3-3590f7c7abf6"
	now := time.Now().UTC()
	for name, tc := range map[string]struct {
		wanted []*backend.BackupPolicy // one after the other
		days   int
	}{
		"as before":   {[]*backend.BackupPolicy{nil}, 35},
		"another":     {[]*backend.BackupPolicy{{Days: 7, Key: backstay.Secret(strings.Repeat("5a", 32))}}, 7},
		"told later":  {[]*backend.BackupPolicy{nil, {Days: 7, Key: backstay.Secret(strings.Repeat("5a", 32))}}, 7},
		"nothing new": {[]*backend.BackupPolicy{{Days: 7, Key: backstay.Secret(strings.Repeat("5a", 32))}, nil}, 7},
		"not its own": {[]*backend.BackupPolicy{{Days: 7, Key: "of another instance"}}, 35},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := known(t, id, func() time.Time { return now })
			for _, wanted := range tc.wanted {
				if err := c.Removed(id, wanted); err != nil {
					t.Fatal(err)
				}
			}
			kept, err := c.Backups(id)
			if err != nil || !kept.Removed.Equal(now) || !kept.Until.Equal(now.AddDate(0, 0, tc.days)) {
				t.Errorf("removed at %s and kept until %s, %v; want %d days", kept.Removed, kept.Until, err, tc.days)
			}
		})
	}
}

// TestCustodiansRest: whoever looks after what a removed instance has left has nothing to do for weeks.
func TestCustodiansRest(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	const id = "0e244c2f-35b6-4e59-b6c3-3590f7c7abf6"
	c := known(t, id, func() time.Time { asked.Add(1); return time.Now() })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	c.Attend(id, nil)(ctx)
	if n := asked.Load(); n > 20 {
		t.Errorf("within moments the custodian of an instance that is gone asked %d times what the time is", n)
	}
}

// TestLastBackupIsTriedAgainInTime: what an instance that is removed tells of a backup that has failed wakes its
// custodian, who waits for the time to try again all the same.
func TestLastBackupIsTriedAgainInTime(t *testing.T) {
	t.Parallel()
	c := custody.Custody{
		Dir: t.TempDir(), Repository: backstay.Repository{Dir: filepath.Join(t.TempDir(), "away")},
		Log: slog.New(slog.DiscardHandler), Engines: map[string]engine.Engine{"redis": redis.Engine{}}, Now: time.Now,
	}
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	p := &parting{changed: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	c.Attend("0e244c2f-35b6-4e59-b6c3-3590f7c7abf6", p)(ctx)
	if n := len(p.told); n != 2 || !strings.Contains(p.told[1], "could not be taken") {
		t.Errorf("within a second it told %d times, as %.4q", n, p.told)
	}
}

// TestNoTroubleIsLeftOfWhatIsNotDoneAnyMore: the archive of an instance that is removed while the repository is away stays
// behind for good, and that is told no longer than somebody can mend it.
func TestNoTroubleIsLeftOfWhatIsNotDoneAnyMore(t *testing.T) {
	t.Parallel()
	const id = "0e244c2f-35b6-4e59-b6c3-3590f7c7abf6"
	c := custody.Custody{
		Dir: t.TempDir(), Repository: backstay.Repository{Dir: filepath.Join(t.TempDir(), "away")},
		Log: slog.New(slog.DiscardHandler), Engines: map[string]engine.Engine{"redis": redis.Engine{}}, Now: time.Now,
	}
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var custodian sync.WaitGroup
	defer custodian.Wait()
	defer cancel()
	keep := c.Attend(id, &parting{changed: make(chan struct{})})
	custodian.Go(func() { keep(ctx) })
	await := func(what string, as func(trouble string) bool) {
		t.Helper()
		err := wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
			kept, err := c.Backups(id)
			return !as(kept.Trouble()), err
		})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	deadline := time.AfterFunc(10*time.Second, cancel)
	defer deadline.Stop()
	isBehind := func(trouble string) bool { return strings.Contains(trouble, "The archive is behind") }
	await("while it is removed", isBehind)
	c.Attend(id, nil)
	await("when it is gone", func(trouble string) bool { return !isBehind(trouble) })
}

// TestExpiryThatFailedIsTriedThoughSomebodyReads: while backups are read from a repository that was away, nothing is
// removed from it, for hours, but that nothing could be is told no longer than the repository is away.
func TestExpiryThatFailedIsTriedThoughSomebodyReads(t *testing.T) {
	t.Parallel()
	const id, away = "0e244c2f-35b6-4e59-b6c3-3590f7c7abf6", "Old backups could not be removed: The repository is away."
	key := backstay.Secret(strings.Repeat("5a", 32))
	c := custody.Custody{
		Dir: t.TempDir(), Repository: backstay.Repository{Dir: t.TempDir()}, Log: slog.New(slog.DiscardHandler),
		Engines: map[string]engine.Engine{"redis": redis.Engine{}}, Now: time.Now,
		Newest: func(ctx context.Context, _ string) ([]engine.Installation, error) {
			return redis.Engine{}.Installations(ctx)
		},
	}
	record, err := json.Marshal(custody.Record{
		Kept: backend.Backups{
			Instance: id, Engine: "redis", Version: "7.0", Troubles: []backstay.Trouble{{Kind: "expiry", Sentence: away}},
			List: []backstay.Backup{{ID: "1", Ended: time.Now().Add(-999 * time.Hour)}, {ID: "2", Ended: time.Now()}},
		},
		Policy:  backend.BackupPolicy{Window: "02:30-03:00", Days: 7, Final: 35, Key: key},
		Leaving: true,
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(c.Dir, id+".json"), record, 0o600)
	}
	part := filepath.Join(c.Repository.Dir, id) // by which the repository is known
	err = errors.Join(err, os.Mkdir(part, 0o700), os.WriteFile(filepath.Join(part, "1.rdb"), nil, 0o600), c.Load())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reach(t.Context(), backend.Origin{Instance: id, Key: key, Alone: true}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	var custodian sync.WaitGroup
	defer custodian.Wait()
	defer cancel()
	custodian.Go(func() { c.Attend(id, nil)(ctx) })
	err = wait.Until(ctx, wait.Every(10*time.Millisecond), func() (again bool, err error) {
		kept, err := c.Backups(id)
		if len(kept.List) != 2 {
			t.Errorf("while they are read there are %+v", kept.List)
		}
		return strings.Contains(kept.Trouble(), "could not be removed"), err
	})
	if err != nil {
		kept, _ := c.Backups(id)
		t.Errorf("%v: it says %s", err, kept.Trouble())
	}
}

// parting is an instance that serves, is to be removed, and changes with each sentence that it is to tell.
type parting struct {
	changed chan struct{}
	told    []string
}

func (p *parting) Look() (custody.Sight, <-chan struct{}) {
	return custody.Sight{
		Serves: true, Removing: true, OwesLast: true, PID: 1,
		Spec: backend.Spec{Engine: "redis", Version: "7.0", Backup: &backend.BackupPolicy{
			Window: "02:30-03:00", Days: 7, Final: 35, Key: backstay.Secret(strings.Repeat("5a", 32)),
		}},
	}, p.changed
}

func (p *parting) Tell(sentence string) {
	p.told = append(p.told, sentence)
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *parting) Saved() error          { return nil }
func (p *parting) KeepData(string) error { return nil }
