package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/keeper/node"
)

// LastCopy is what is left of an instance that is removed.
type LastCopy string

const (
	inBackup LastCopy = "backup" // its last backup lies in the repository
	inData   LastCopy = "data"   // no backup of it can be taken: its data directory is kept
	noCopy   LastCopy = "none"   // nobody wants one
)

// owesCopy tells whether a last copy is to be made before the instance goes. It is kept as before until then.
func (r Record) owesCopy() bool {
	p := r.Spec.Backup
	return r.Removing && r.LastCopy == "" && p != nil && p.Final > 0 && r.Reached > 0
}

// Discard makes it the wish that nothing of the instance is left, not even a last backup.
func (in *Instance) Discard(ctx context.Context) error {
	in.write.Lock()
	defer in.write.Unlock()
	if r := in.Record(); r.Removing && r.LastCopy != "" {
		return nil
	}
	err := step.Run(ctx, step.Step{Name: discardWritten, Do: func(context.Context) error {
		return in.amend(func(r *Record) { r.Removing, r.LastCopy = true, noCopy })
	}})
	if err == nil {
		in.Tell("The service instance is being removed.")
	}
	return err
}

// Tell says why the instance, which is being removed, is still there.
func (in *Instance) Tell(sentence string) {
	in.mu.Lock()
	in.parting = sentence
	in.mu.Unlock()
	in.report(func(*backend.Status) {})
}

// Saved records that the last backup of the instance lies in the repository: it goes on being removed.
func (in *Instance) Saved() error { return in.settleCopy(inBackup) }

// KeepData records that no last backup can be taken, so that the data is kept in its place.
func (in *Instance) KeepData(why string) error {
	in.log.Warn("the data of an instance that is removed is kept, because no last backup of it can be taken", "why", why)
	return in.settleCopy(inData)
}

func (in *Instance) settleCopy(how LastCopy) error {
	return step.Run(context.Background(), step.Step{Name: copySettled, Do: func(context.Context) error {
		return in.amendAlone(func(r *Record) {
			if r.owesCopy() {
				r.LastCopy = how
			}
		})
	}})
}

// hopelessForCopy is how long the engine of an instance that is being removed may fail to come up for its last backup,
// until its data is kept instead.
const hopelessForCopy = time.Minute

// giveUpCopy keeps the data of an instance that is being removed, and whose engine does not come up.
func (in *Instance) giveUpCopy(err error) {
	kind := backstay.KindOf(err)
	lasts := in.m.Now().Sub(in.seen.failed) >= hopelessForCopy
	if !in.Record().owesCopy() || in.seen.serves || kind != backstay.Unsupported && kind != backstay.Invalid && !lasts {
		return
	}
	if saveErr := in.KeepData(sentence(err)); saveErr != nil {
		in.log.Error("it could not be recorded that the data of an instance is to be kept", "error", saveErr)
		return
	}
	in.seen.failures, in.seen.retry = 0, time.Time{}
}

// Node is the instance's node as it was started last.
func (in *Instance) Node() (node.Node, error) {
	r := in.Record()
	return in.m.node(r, r.spec(r.Started))
}

// Serves tells whether the node serves, though users may not be told so, because the instance is being removed. One
// that has taken over does not, for whoever archives it, until what the one before had logged is archived.
func (in *Instance) Serves() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	second := in.record.Second
	return in.phase == backend.Running && (second == nil || !second.Fenced)
}

// PID is that of the node's main process, if one is there.
func (in *Instance) PID() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.pid
}

// OwesCopy tells whether the instance is being removed and waits for its last backup.
func (in *Instance) OwesCopy() bool { return in.Record().owesCopy() }

// keptDir is where the data of an instance is kept when that is removed: on the disk that it lies on, if that is there.
func (m *Machine) keptDir(r Record) string {
	d := m.disk(r, r.Place)
	if d.Ready() != nil {
		d = m.Disks.Data()
	}
	return filepath.Join(d.kept(), string(r.Spec.Instance))
}

// keptNote says what the data beside it is.
type keptNote struct {
	Instance backstay.InstanceID `json:"instance"`
	Engine   string              `json:"engine"`
	Version  string              `json:"version"`       // the full one that has served it last
	Until    time.Time           `json:"until"`         // it is removed then
	Key      backstay.Secret     `json:"key,omitempty"` // of the volume, if it is encrypted
}

// LogValue is the note without the key.
func (n keptNote) LogValue() slog.Value { return backstay.RedactedValue(n) }

// noteFile is the name of the note in a directory of kept data.
const noteFile = "note.json"

// archiveEnd brings what the node has logged until its end into the archive, if the last backup is there too. It is no
// reason to stay that this fails.
func (in *Instance) archiveEnd(ctx context.Context, n node.Node) error {
	if in.m.Vault == nil || in.Record().LastCopy != inBackup {
		return nil
	}
	err := in.mountVolume(ctx) // which a reboot may have left unmounted
	if err == nil {
		err = in.m.Vault.Ended(ctx, in.ID, n, engine.WholeSecond(in.m.Now()))
	}
	if err != nil {
		in.log.Warn("what was logged after the last backup is not in the archive", "error", err)
	}
	return nil
}

// keepData moves the data of a node, which has ended, to where it is kept, if there is no last backup in its place: the
// data directory, or all of its volume.
func (in *Instance) keepData(ctx context.Context, n node.Node) error {
	r := in.Record()
	if r.LastCopy != inData {
		return nil
	}
	dir := in.m.keptDir(r)
	if err := node.MakeDir(dir, 0o700); err != nil {
		return err
	}
	note, err := in.m.Records.Key.Encode(&keptNote{
		Instance: in.ID, Engine: r.Spec.Engine, Version: r.Installation.FullVersion,
		Until: in.m.Now().UTC().AddDate(0, 0, r.Spec.Backup.Final), Key: r.Spec.Volume.Key,
	}, recordContext(in.ID))
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, noteFile), note, 0o600); err != nil {
		return err
	}
	if detached, err := in.detachVolume(ctx, dir); detached || err != nil {
		return err
	}
	err = os.Rename(n.DataDir, filepath.Join(dir, firstData))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // it has been moved, or was missing all the time
		return fmt.Errorf("keep data: %w", err)
	}
	return atomicfile.SyncDir(dir)
}

// SweepKept removes data of removed instances that was kept long enough.
func (m *Machine) SweepKept() error {
	var notes []string
	for _, d := range m.Disks.All() {
		found, _ := filepath.Glob(filepath.Join(d.kept(), "*", noteFile)) // the pattern is sound
		notes = append(notes, found...)
	}
	var err error
	for _, path := range notes {
		text, readErr := os.ReadFile(path)
		var note keptNote
		if readErr == nil {
			readErr = json.Unmarshal(text, &note)
		}
		switch {
		case readErr != nil:
			err = errors.Join(err, fmt.Errorf("read %s: %w", path, readErr))
		case !m.Now().Before(note.Until):
			m.Log.Info("the data of an instance that was removed is kept no longer", "instance", note.Instance)
			err = errors.Join(err, os.RemoveAll(filepath.Dir(path)))
		}
	}
	return err
}
