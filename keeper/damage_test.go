package keeper_test

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// TestRestoreTakesTheBackupBefore a damaged one, which nobody knew of, and what was archived since then. The damage is
// told from then on, another backup makes up for it at once, and once it is mended, nothing is told any more.
func TestRestoreTakesTheBackupBefore(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	for _, p := range kinds() {
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			c := everything(t)
			m := newMoments(t, p, c, backstay.Repository{Dir: filepath.Join(c.DataDir, "repository")})
			stop := m.start()
			m.write()
			m.backUp()
			m.write()
			last := time.Now().Add(time.Second).Truncate(time.Second)
			time.Sleep(time.Until(last.Add(50 * time.Millisecond)))
			stop()
			kept := mustAwaitBackups(t, m.b, m.spec.Instance, atLeast(2))
			newest := kept.List[len(kept.List)-1]
			harmed := largestOf(t, filepath.Join(m.c.Repository.Dir, string(m.spec.Instance)), newest.ID)
			flipBit(t, harmed)

			alone, from, until := kept.Latest.IsZero(), last, last
			if alone {
				from, until = lastBefore(kept.List[:len(kept.List)-1], last)
			}
			m.noted.compare(t, m.copied(last, alone), from, until)
			m.wantPassed(last, alone)
			mustAwaitBackups(t, m.b, m.spec.Instance, func(k backend.Backups) bool {
				i := slices.IndexFunc(k.List, func(b backstay.Backup) bool { return b.ID == newest.ID })
				return i >= 0 && k.List[i].Damaged != "" && k.List[len(k.List)-1].Damaged == "" &&
					strings.Contains(k.Trouble(), "The backup of ") && k.Troubles[0].Kind == "damage"
			})
			if proof, err := m.b.Prove(t.Context(), m.spec.Instance); err != nil || proof.Backup == newest.ID {
				t.Errorf("what makes up for the damage is proved as %+v, %v", proof, err)
			}
			flipBit(t, harmed)
			if _, err := m.b.Prove(t.Context(), m.spec.Instance); err != nil {
				t.Error(err)
			}
			kept, err := m.b.Backups(t.Context(), m.spec.Instance)
			if err != nil || kept.Trouble() != "" || slices.ContainsFunc(kept.List, isDamaged) {
				t.Errorf("what is mended is told as %+v, %v", kept, err)
			}
		})
	}
}

// wantPassed wants it to be told of a copy, also by another keeper, that it is not of the newest backup.
func (m *moments) wantPassed(moment time.Time, alone bool) {
	m.Helper()
	spec := specOf(m.T, m.p)
	spec.Instance = backstay.InstanceID(uuid.NewString())
	spec.Origin = &backend.Origin{Instance: m.spec.Instance, Key: m.spec.Backup.Key, At: moment, Alone: alone}
	mustReach(m.T, m.b, spec)
	words := regexp.MustCompile(`^The backup of .* is damaged\. That of .* is restored instead`)
	for range 2 {
		s, err := m.b.Await(m.Context(), spec.Instance, 0)
		if err != nil || s.Restored.Generation != spec.Generation || !words.MatchString(s.Restored.Passed) {
			m.Errorf("of a copy of an older backup is told %+v, %v", s.Restored, err)
		}
		m.killKeeper()
	}
	if err := end(m.Context(), m.b, spec.Instance); err != nil {
		m.Error(err)
	}
}

func isDamaged(b backstay.Backup) bool { return b.Damaged != "" }

// TestRestoreMeetsALoss of the archive: it is refused with what can be restored, and all that is told is that from then
// on. The time behind it can be restored again at once.
func TestRestoreMeetsALoss(t *testing.T) {
	t.Parallel()
	eachArchived(t, func(t *testing.T, p product, m *moments) {
		part := filepath.Join(m.c.Repository.Dir, string(m.spec.Instance))
		stop := m.start()
		var last time.Time
		var before []string
		for round := range 3 {
			if round == 1 {
				before = m.archived(part)
			}
			m.write()
			last = time.Now().Add(time.Second).Truncate(time.Second)
			time.Sleep(time.Until(last.Add(50 * time.Millisecond)))
			m.noted.compare(t, m.copied(last, false), last, last)
		}
		stop()
		added := slices.DeleteFunc(m.archived(part), func(path string) bool { return slices.Contains(before, path) })
		if len(added) < 2 {
			t.Fatalf("the archive has got %v", added)
		}
		mustRemove(t, added[0])

		spec := specOf(t, p)
		spec.Instance = backstay.InstanceID(uuid.NewString())
		spec.Origin = &backend.Origin{Instance: m.spec.Instance, Key: m.spec.Backup.Key, At: last}
		if err := m.b.Apply(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		s := untilWithin(t, longestWay, m.b, spec.Instance, func(s backend.Status) bool { return s.Obstacle.Final })
		// It is found when the data is restored, and known when that is tried again.
		found, known := "The archive is damaged", "the archive has lost what was written"
		for _, words := range []string{found + "|" + known, "can be restored to any second from"} {
			if !regexp.MustCompile(words).MatchString(s.Obstacle.Sentence) {
				t.Errorf("it is refused with %q, which does not say %q", s.Obstacle.Sentence, words)
			}
		}
		kept := mustAwaitBackups(t, m.b, m.spec.Instance, func(k backend.Backups) bool {
			return len(k.Gaps) == 1 && len(k.List) >= 2 && strings.Contains(k.Trouble(), "The archive has lost what")
		})
		if g := kept.Gaps[0]; !g.From.Before(last) || !kept.List[1].Ended.After(g.From) {
			t.Errorf("the gap is told as %+v, of %v and backups %+v", g, last, kept.List)
		}
		reached := kept.Gaps[0].From.Truncate(time.Second)
		m.noted.compare(t, m.copied(reached, false), reached, reached)
	})
}

// TestRestoreMeetsWhatIsGone from the repository behind our back: who wishes for a second gets it from the backup before,
// and who wishes for more than there is, is refused at once, with what there is.
func TestRestoreMeetsWhatIsGone(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	for _, p := range kinds() {
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			c := everything(t)
			m := newMoments(t, p, c, backstay.Repository{Dir: filepath.Join(c.DataDir, "repository")})
			part := filepath.Join(m.c.Repository.Dir, string(m.spec.Instance))
			stop := m.start()
			m.write()
			m.backUp()
			m.write()
			last := time.Now().Add(time.Second).Truncate(time.Second)
			time.Sleep(time.Until(last.Add(50 * time.Millisecond)))
			stop()
			kept := mustAwaitBackups(t, m.b, m.spec.Instance, atLeast(2))
			newest := kept.List[len(kept.List)-1]
			removeNamed(t, part, newest.ID)
			wish := backend.Origin{Instance: m.spec.Instance, Key: m.spec.Backup.Key, Backup: newest.ID, Alone: true}
			m.refused(wish, "The backup of .* is damaged")

			alone, from, until := kept.Latest.IsZero(), last, last
			if alone {
				from, until = lastBefore(kept.List[:len(kept.List)-1], last)
			}
			m.noted.compare(t, m.copied(last, alone), from, until)
			mustAwaitBackups(t, m.b, m.spec.Instance, func(k backend.Backups) bool {
				return k.List[len(k.List)-1].Damaged == "" && strings.Contains(k.Trouble(), "The backup of ")
			})

			if err := os.RemoveAll(part); err != nil {
				t.Fatal(err)
			}
			wish.Backup = ""
			m.refused(wish, "Nothing can be restored of the instance .*damaged")
		})
	}
}

// removeNamed removes all below a directory that has a name in its own.
func removeNamed(t *testing.T, dir, name string) {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(at string, e fs.DirEntry, err error) error {
		if err == nil && strings.Contains(filepath.Base(at), name) {
			found = append(found, at)
		}
		return err
	})
	for _, path := range found {
		err = cmp.Or(err, os.RemoveAll(path))
	}
	if err != nil || len(found) == 0 {
		t.Fatalf("of %s there is %v: %v", name, found, err)
	}
}

// refused wants a wish to be refused for good, soon, with words that match.
func (m *moments) refused(wish backend.Origin, words string) {
	m.Helper()
	const soon = 30 * time.Second
	spec := specOf(m.T, m.p)
	spec.Instance, spec.Origin = backstay.InstanceID(uuid.NewString()), &wish
	if err := m.b.Apply(m.Context(), spec); err != nil {
		m.Fatal(err)
	}
	s := untilWithin(m.T, soon, m.b, spec.Instance, func(s backend.Status) bool { return s.Obstacle.Final })
	if !regexp.MustCompile(words).MatchString(s.Obstacle.Sentence) {
		m.Errorf("it is refused with %q, which does not say %q", s.Obstacle.Sentence, words)
	}
	if err := end(m.Context(), m.b, spec.Instance); err != nil {
		m.Error(err)
	}
}

// archived are the pieces of the archive, the oldest first.
func (m *moments) archived(part string) (all []string) {
	m.Helper()
	for _, pattern := range []string{"archive/main/*/*/0*", "log/*/0*"} { // of each engine
		found, err := filepath.Glob(filepath.Join(part, pattern))
		if err != nil {
			m.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// largestOf is the largest file below a directory in whose path there is that name.
func largestOf(t *testing.T, dir, name string) (path string) {
	t.Helper()
	var largest int64
	err := filepath.WalkDir(dir, func(at string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !strings.Contains(at, name) {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Size() > largest {
			largest, path = info.Size(), at
		}
		return err
	})
	if err != nil || path == "" {
		t.Fatal(cmp.Or(err, os.ErrNotExist))
	}
	return path
}

// flipBit flips one bit in the middle of a file.
func flipBit(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		text[len(text)/2] ^= 1
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
