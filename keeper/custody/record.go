package custody

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/seal"
)

// Record is what lies on disk of an instance's backups. It outlives the instance until none of them is kept. Fields are
// added and never change their meaning.
type Record struct {
	Kept         backend.Backups      `json:"kept"`
	Policy       backend.BackupPolicy `json:"policy"`            // the last one that the instance had
	Installation engine.Installation  `json:"installation"`      // that the instance ran from last
	UID          uint32               `json:"uid"`               // of its operating-system user; 0: the keeper's own
	Archived     time.Time            `json:"archived,omitzero"` // as far as the archive goes; zero: there is none
	Leaving      bool                 `json:"leaving,omitempty"` // its removal was asked for: it is not only missing
	Parted       bool                 `json:"parted,omitempty"`  // it has its last backup, and has not served since
	Of           string               `json:"of,omitempty"`      // the data directory that the last backup is of
	// Lost is what the archive was found to have lost, besides the gaps that were told of when they came to be.
	Lost []backstay.Gap `json:"lost,omitempty"`
	// StandIn is the backup that was taken in the place of one that a proof could not restore.
	StandIn string `json:"stand_in,omitempty"`
	// Replaced is the key of backups of an earlier instance of the id. They go before there are others.
	Replaced backstay.Secret `json:"replaced,omitempty"`
}

// LogValue is the record without its keys.
func (r Record) LogValue() slog.Value { return backstay.RedactedValue(r) }

// isDisproved tells whether the newest backup is one that a proof could not restore. One that stands in for such a one
// already is left for the next night: whatever spoils them spoils each.
func (r Record) isDisproved() bool {
	if len(r.Kept.List) == 0 || !r.Kept.Proof.Disproved {
		return false
	}
	newest := r.Kept.List[len(r.Kept.List)-1].ID
	return newest == r.Kept.Proof.Backup && newest != r.StandIn
}

// recordContext is what the keys of an instance's record are sealed for.
func recordContext(id backstay.InstanceID) string { return "keeper/backups/" + string(id) }

func (c *Custody) path(id backstay.InstanceID) string {
	return filepath.Join(c.Dir, string(id)+".json")
}

func (c *Custody) save(r Record) error {
	encoded, err := c.Key.Encode(&r, recordContext(r.Kept.Instance))
	if err != nil {
		return fmt.Errorf("encode record of the backups of %s: %w", r.Kept.Instance, err)
	}
	return atomicfile.Write(c.path(r.Kept.Instance), encoded, 0o600)
}

// sweep removes what a keeper left that was killed: records half written, and directories of tools.
func (c *Custody) sweep() error {
	left, err := filepath.Glob(filepath.Join(c.Dir, ".*"))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// read reads all records, and seals the keys that an earlier keeper has left in clear. One that cannot be read is left
// out, and told of: the repository knows most of it.
func (c *Custody) read() ([]Record, error) {
	entries, err := os.ReadDir(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var records []Record
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || strings.HasPrefix(id, ".") {
			continue
		}
		r, found, err := c.readOne(backstay.InstanceID(id))
		if err != nil {
			c.Log.Error("a record of backups cannot be read", "instance", id, "error", err)
			continue
		}
		if found.Clear > 0 && c.Key != (seal.Key{}) {
			if err := c.save(r); err != nil { // it is sealed when it is saved next
				c.Log.Error("the keys of a record of backups stay in clear", "instance", id, "error", err)
			}
		}
		records = append(records, r)
	}
	return records, nil
}

func (c *Custody) readOne(id backstay.InstanceID) (r Record, found seal.Found, err error) {
	text, err := os.ReadFile(c.path(id))
	if err != nil {
		return r, found, err
	}
	if found, err = c.Key.Decode(text, &r, recordContext(id)); err != nil {
		return r, found, err
	}
	if r.Kept.Instance != id {
		return r, found, fmt.Errorf("it is of instance %q", r.Kept.Instance)
	}
	return r, found, nil
}

// same tells whether two records say the same.
func same(a, b Record) bool { return reflect.DeepEqual(a, b) }
