package kubernetes

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/repository"
)

// noteName is the object that says what the backups of an instance are of, in its part of the object store.
const noteName = "backstay.json"

// note is what is kept of an instance beside its backups, so that they outlive it and all that the cluster has.
type note struct {
	Legacy  backend.Legacy `json:"legacy"` // without the key
	Key     string         `json:"key"`    // its fingerprint
	Keeping keeping        `json:"keeping"`
}

// part opens what the object store has of an instance; of none, all of it.
func (b *Backend) part(id backstay.InstanceID) (*repository.Bare, error) {
	if b.Repository == nil {
		return nil, errNoRepository
	}
	return repository.OpenBare(backstay.Repository{Objects: &b.Repository.ObjectStore, Part: string(id)})
}

var errNoRepository = backstay.Errorf(backstay.Unavailable,
	"There is no object store for the backups of service instances on Kubernetes.")

// askFor asks the object store whether it answers, where that is what the data of an origin comes from: who restores it
// only tries again, and nobody hears why.
func (b *Backend) askFor(ctx context.Context, o origin) error {
	if o.Clone {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	part, err := b.part(o.Of)
	if err == nil {
		_, err = part.Text(ctx, noteName)
	}
	return absentIsFine(err)
}

// storeLimit is how long the object store may take for a small thing.
const storeLimit = 30 * time.Second

// readNote is NotFound where there is none.
func readNote(ctx context.Context, part *repository.Bare) (n note, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	text, err := part.Text(ctx, noteName)
	if err == nil {
		err = json.Unmarshal(text, &n)
	}
	return n, err
}

func writeNote(ctx context.Context, part *repository.Bare, n note) error {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	n.Legacy.Policy.Key = ""
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return part.PutText(ctx, noteName, text)
}

// noteOf is the note of an instance as its record has it.
func (r record) note() note {
	n := note{Keeping: r.Keeping, Legacy: backend.Legacy{
		Instance: r.Spec.Instance, Engine: r.Spec.Engine, Version: r.standing().Version,
	}}
	if p := r.Spec.Backup; p != nil {
		n.Legacy.Policy, n.Key = *p, fingerprint(p.Key)
	}
	return n
}

// listBackups lists the whole backups of these lines, the oldest first.
func listBackups(ctx context.Context, part *repository.Bare, lines []line) (list []stored, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	for _, l := range lines {
		objects, err := part.List(ctx, l.Name+"/"+backupsWithin)
		if err != nil {
			return nil, err
		}
		for _, of := range byBackup(objects, l.Name+"/"+backupsWithin) {
			s, ok, err := readBackup(ctx, part, of, l.Name)
			if err != nil {
				return nil, err
			}
			if ok {
				list = append(list, s)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b stored) int { return a.Ended.Compare(b.Ended) })
	return list, nil
}

// ofBackup are the objects of a backup.
type ofBackup struct {
	id      string
	objects []repository.Entry
}

func byBackup(objects []repository.Entry, prefix string) (all []ofBackup) {
	for _, o := range objects {
		id, _, _ := strings.Cut(strings.TrimPrefix(o.Name, prefix), "/")
		if len(all) == 0 || all[len(all)-1].id != id {
			all = append(all, ofBackup{id: id})
		}
		last := &all[len(all)-1]
		last.objects = append(last.objects, o)
	}
	return all
}

// readBackup is not ok for a backup that is not whole.
func readBackup(ctx context.Context, part *repository.Bare, of ofBackup, line string) (s stored, ok bool, err error) {
	text, err := part.Text(ctx, line+"/"+backupsWithin+of.id+"/"+infoFile)
	if backstay.KindOf(err) == backstay.NotFound {
		return s, false, nil
	}
	if err == nil {
		s, ok, err = readInfo(of.id, text)
	}
	s.Line = line
	for _, o := range of.objects {
		s.Stored += o.Size
	}
	if s.Data == 0 {
		s.Data = s.Stored
	}
	return s, ok, err
}

// has tells whether a piece of the log lies in a line of the archive.
func has(ctx context.Context, part *repository.Bare, line, piece string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	found, err := part.List(ctx, line+"/"+pieceWithin(piece))
	return slices.ContainsFunc(found, func(e repository.Entry) bool { return pieceOf(e.Name) == piece }), err
}

// erasePatience is how long it may take to remove many objects.
const erasePatience = 10 * time.Minute

// erase removes all whose names begin so, but some.
func erase(
	ctx context.Context, part *repository.Bare, now time.Time, prefix string, but func(name string) bool,
) error {
	ctx, cancel := context.WithTimeout(ctx, erasePatience)
	defer cancel()
	objects, err := part.List(ctx, prefix)
	if err != nil {
		return err
	}
	var names []string
	for _, o := range objects {
		if but == nil || !but(o.Name) {
			names = append(names, o.Name)
		}
	}
	// A backup is one as long as it has its info: what is removed half is not taken for whole.
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	if len(names) == 0 {
		return nil
	}
	return part.Delete(ctx, now, names...)
}

func rank(name string) int {
	if strings.HasSuffix(name, "/"+infoFile) {
		return 0
	}
	return 1
}

// prune removes all backups but those that are to be kept, with what is left of such that came to nothing, and the log
// that none of these needs; but nothing of the log in use as long as there is no backup.
func prune(
	ctx context.Context, part *repository.Bare, now time.Time, list []stored, keep []string, lines []line, used string,
) error {
	for _, l := range lines {
		first := ""
		for _, s := range list {
			if s.Line == l.Name && slices.Contains(keep, s.ID) && (first == "" || s.First < first) {
				first = s.First
			}
		}
		if first == "" && l.Name != used {
			if err := erase(ctx, part, now, l.Name+"/", nil); err != nil {
				return err
			}
			continue
		}
		if err := pruneBackups(ctx, part, now, list, keep, l.Name); err != nil {
			return err
		}
		if first == "" {
			continue
		}
		err := erase(ctx, part, now, l.Name+"/"+logWithin, func(name string) bool {
			piece := pieceOf(name)
			return piece == "" || piece >= first
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// abandoned is how long nothing was added to a backup that will never be whole.
const abandoned = 24 * time.Hour

func pruneBackups(
	ctx context.Context, part *repository.Bare, now time.Time, list []stored, keep []string, line string,
) error {
	prefix := line + "/" + backupsWithin
	objects, err := part.List(ctx, prefix)
	if err != nil {
		return err
	}
	for _, of := range byBackup(objects, prefix) {
		known := slices.ContainsFunc(list, func(s stored) bool { return s.ID == of.id && s.Line == line })
		young := slices.ContainsFunc(of.objects, func(o repository.Entry) bool { return now.Sub(o.Time) < abandoned })
		if known && slices.Contains(keep, of.id) || !known && young {
			continue
		}
		if err := erase(ctx, part, now, prefix+of.id+"/", nil); err != nil {
			return err
		}
	}
	return nil
}
