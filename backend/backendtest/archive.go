package backendtest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/wait"
)

// RunArchive checks that a subject whose backend is a [backend.Archive], and backs up the first engine that it has,
// keeps that contract too. Nobody connects to its instances.
func RunArchive(t *testing.T, s Subject) {
	archive, ok := s.Backend.(backend.Archive)
	if !ok {
		t.Fatalf("%T is no archive", s.Backend)
	}
	for name, run := range map[string]func(*testing.T, archiveSubject){
		"LifeOfBackups":           lifeOfBackups,
		"BackupIsRestored":        backupIsRestored,
		"DiscardTakesNoLastOne":   discardTakesNoLastOne,
		"SkippingLeavesTheOthers": skippingLeavesTheOthers,
		"NothingIsKeptOfUnknown":  nothingIsKeptOfUnknown,
		"BadPolicyIsRefused":      badPolicyIsRefused,
		"NotBackedUpHasNoBackups": notBackedUpHasNoBackups,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, archiveSubject{s, archive})
		})
	}
}

type archiveSubject struct {
	Subject
	archive backend.Archive
}

// backedUp wants an instance that is backed up.
func (s archiveSubject) backedUp(t *testing.T) backend.Spec {
	t.Helper()
	spec := s.spec(t)
	spec.Backup = &backend.BackupPolicy{
		Window: "02:30-03:00", Days: 7, Final: 35, Key: backstay.Secret(strings.Repeat("5a", 32)),
	}
	return spec
}

// kept returns what is kept of an instance once that is as wanted. All of it must be sound on the way.
func (s archiveSubject) kept(
	t *testing.T, id backstay.InstanceID, what string, wanted func(backend.Backups) bool,
) (kept backend.Backups) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) {
		kept, err = s.archive.Backups(ctx, id)
		if backstay.KindOf(err) == backstay.NotFound {
			return true, err
		}
		if err == nil && !wanted(kept) {
			return true, fmt.Errorf("the backups are %+v", kept)
		}
		return false, err
	})
	if err != nil {
		t.Fatalf("wait for %s: %v", what, err)
	}
	for i, b := range kept.List {
		if b.ID == "" || b.Ended.Before(b.Began) || b.Stored <= 0 || b.Data <= 0 || b.Version == "" ||
			i > 0 && b.Ended.Before(kept.List[i-1].Ended) {
			t.Errorf("backup %d of %d is %+v", i, len(kept.List), b)
		}
	}
	return kept
}

// served is an instance that serves and has a backup.
func (s archiveSubject) served(t *testing.T) (backend.Spec, backend.Backups) {
	t.Helper()
	spec := s.backedUp(t)
	s.apply(t, spec)
	s.running(t, spec.Instance, 1)
	return spec, s.kept(t, spec.Instance, "the first backup", func(k backend.Backups) bool { return len(k.List) > 0 })
}

// lifeOfBackups: they are taken by themselves and when they are asked for, proved, and outlive their instance until
// they are forgotten.
func lifeOfBackups(t *testing.T, s archiveSubject) {
	spec, first := s.served(t)
	id := spec.Instance
	if first.Instance != id || first.Engine != spec.Engine || first.Version != spec.Version || first.Trouble() != "" {
		t.Errorf("of instance %s is kept %+v", id, first)
	}
	spec.Generation, spec.Backups = 2, 1
	s.mustApply(t, spec)
	s.kept(t, id, "the backup that was asked for", func(k backend.Backups) bool {
		return k.Asked == 1 && len(k.List) == 2 && !k.Running
	})
	p, err := s.archive.Prove(t.Context(), id)
	if err != nil || p.Backup == "" || p.Reason != "" || p.At.IsZero() {
		t.Errorf("Prove: %+v, %v", p, err)
	}
	s.kept(t, id, "the proof", func(k backend.Backups) bool { return k.Proof == p })
	s.wantListed(t, id, true)
	wantKind(t, "Forget of what is there", s.archive.Forget(t.Context(), id), backstay.Invalid)
	s.remove(t, id)
	left := s.kept(t, id, "the last backup", func(k backend.Backups) bool { return !k.Removed.IsZero() })
	if last := left.List[len(left.List)-1]; !last.Final || !left.Until.Equal(left.Removed.AddDate(0, 0, 35)) {
		t.Errorf("after the end of its instance is kept %+v", left)
	}
	_, err = s.archive.Prove(t.Context(), id)
	wantKind(t, "Prove of what was removed", err, backstay.Unsupported)
	s.forget(t, id)
}

func (s archiveSubject) wantListed(t *testing.T, id backstay.InstanceID, want bool) {
	t.Helper()
	all, err := s.archive.AllBackups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listed := false
	for i, k := range all {
		listed = listed || k.Instance == id
		if i > 0 && all[i-1].Instance >= k.Instance {
			t.Errorf("AllBackups lists %s behind %s", k.Instance, all[i-1].Instance)
		}
	}
	if listed != want {
		t.Errorf("AllBackups lists %s: %t, want %t", id, listed, want)
	}
}

// forget removes the backups of an instance that was removed.
func (s archiveSubject) forget(t *testing.T, id backstay.InstanceID) {
	t.Helper()
	for range 2 {
		if err := s.archive.Forget(t.Context(), id); err != nil {
			t.Errorf("Forget: %v", err)
		}
	}
	_, err := s.archive.Backups(t.Context(), id)
	wantKind(t, "Backups of what was forgotten", err, backstay.NotFound)
	s.wantListed(t, id, false)
}

// backupIsRestored: another instance begins from a backup, also of one that was removed.
func backupIsRestored(t *testing.T, s archiveSubject) {
	spec, _ := s.served(t)
	s.remove(t, spec.Instance)
	s.kept(t, spec.Instance, "the last backup", func(k backend.Backups) bool { return !k.Removed.IsZero() })
	copied := s.backedUp(t)
	copied.Origin = &backend.Origin{Instance: spec.Instance, Key: spec.Backup.Key}
	s.apply(t, copied)
	s.running(t, copied.Instance, 1)
	s.kept(t, copied.Instance, "its own backup", func(k backend.Backups) bool { return len(k.List) > 0 })
	s.forget(t, spec.Instance)
}

// discardTakesNoLastOne, and leaves the backups that there are.
func discardTakesNoLastOne(t *testing.T, s archiveSubject) {
	spec, first := s.served(t)
	if err := s.archive.Discard(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
	s.remove(t, spec.Instance)
	left := s.kept(t, spec.Instance, "its end", func(k backend.Backups) bool { return !k.Removed.IsZero() })
	if len(left.List) != len(first.List) || left.List[0].ID != first.List[0].ID || left.List[0].Final {
		t.Errorf("after Discard is kept %+v, want %+v", left, first)
	}
	s.forget(t, spec.Instance)
}

// skippingLeavesTheOthers for their days: who wants no last backup has not said that what there is should go.
func skippingLeavesTheOthers(t *testing.T, s archiveSubject) {
	spec, first := s.served(t)
	policy := *spec.Backup
	policy.Final = 0
	spec.Generation, spec.Backup = 2, &policy
	s.mustApply(t, spec)
	s.running(t, spec.Instance, 2)
	s.remove(t, spec.Instance)
	left := s.kept(t, spec.Instance, "its end", func(k backend.Backups) bool { return !k.Removed.IsZero() })
	if len(left.List) != len(first.List) || left.List[0].ID != first.List[0].ID ||
		!left.Until.Equal(left.Removed.AddDate(0, 0, policy.Days)) {
		t.Errorf("without a last backup is kept %+v, want %+v for %d days", left, first, policy.Days)
	}
	s.forget(t, spec.Instance)
}

func nothingIsKeptOfUnknown(t *testing.T, s archiveSubject) {
	id := backstay.InstanceID(uuid.NewString())
	_, err := s.archive.Backups(t.Context(), id)
	wantKind(t, "Backups", err, backstay.NotFound)
	_, err = s.archive.Prove(t.Context(), id)
	wantKind(t, "Prove", err, backstay.NotFound)
	wantKind(t, "Discard", s.archive.Discard(t.Context(), id), backstay.NotFound)
	if err := s.archive.Forget(t.Context(), id); err != nil {
		t.Errorf("Forget: %v, want success", err)
	}
}

func badPolicyIsRefused(t *testing.T, s archiveSubject) {
	for what, change := range map[string]func(*backend.BackupPolicy){
		"no window":      func(p *backend.BackupPolicy) { p.Window = "at night" },
		"no days":        func(p *backend.BackupPolicy) { p.Days = 0 },
		"days below 0":   func(p *backend.BackupPolicy) { p.Final = -1 },
		"no key":         func(p *backend.BackupPolicy) { p.Key = "" },
		"no end of time": func(p *backend.BackupPolicy) { p.Window = "02:30-" },
	} {
		spec := s.backedUp(t)
		change(spec.Backup)
		wantKind(t, "Admit with "+what, s.Backend.Admit(t.Context(), spec), backstay.Invalid)
		wantKind(t, "Apply with "+what, s.Backend.Apply(t.Context(), spec), backstay.Invalid)
	}
}

func notBackedUpHasNoBackups(t *testing.T, s archiveSubject) {
	spec := s.spec(t)
	s.apply(t, spec)
	s.running(t, spec.Instance, 1)
	_, err := s.archive.Backups(t.Context(), spec.Instance)
	wantKind(t, "Backups", err, backstay.NotFound)
	_, err = s.archive.Prove(t.Context(), spec.Instance)
	wantKind(t, "Prove", err, backstay.NotFound)
	s.wantListed(t, spec.Instance, false)
}
