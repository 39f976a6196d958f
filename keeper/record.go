package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
)

// record is what lies on disk of an instance: its Spec, and what the keeper has decided about it.
type record struct {
	Spec     backend.Spec `json:"spec"`
	Port     int          `json:"port"`     // held for the instance's life; 0 if it is private
	UID      uint32       `json:"uid"`      // of its operating-system user; 0: the keeper's own
	Started  int64        `json:"started"`  // the generation that the process was started with, if it runs
	Reached  int64        `json:"reached"`  // the newest generation that served
	Removing bool         `json:"removing"` // everything of it is to go, this record last

	Installation engine.Installation `json:"installation"` // that the process was started from
	Program      string              `json:"program"`      // that it runs, without symbolic links
}

func (c Config) recordPath(id backstay.InstanceID) string {
	return filepath.Join(c.recordsDir(), string(id)+".json")
}

func (c Config) save(r record) error {
	encoded, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode record of %s: %w", r.Spec.Instance, err)
	}
	err = atomicfile.Write(c.recordPath(r.Spec.Instance), encoded, 0o600)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return backstay.Wrapf(err, backstay.Unavailable, "The disk is full: ask the operator for more room.")
	}
	return err
}

// load reads all records. One that cannot be read is left alone, and told of: the others must live.
// What a keeper left that was killed while it wrote one is removed. The lock is held.
func (c Config) load() ([]record, error) {
	entries, err := os.ReadDir(c.recordsDir())
	if err != nil {
		return nil, err
	}
	var records []record
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			if err := os.Remove(filepath.Join(c.recordsDir(), e.Name())); err != nil {
				return nil, err
			}
			continue
		}
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		r, err := c.loadOne(backstay.InstanceID(id))
		if err != nil {
			c.Log.Error("an instance is left as it is, because its record cannot be read", "instance", id, "error", err)
			continue
		}
		records = append(records, r)
	}
	return records, nil
}

func (c Config) loadOne(id backstay.InstanceID) (r record, err error) {
	text, err := os.ReadFile(c.recordPath(id))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, err
	}
	if r.Spec.Instance != id || r.Spec.Generation < 1 {
		return r, errors.New("it is of another instance, or has no generation")
	}
	return r, nil
}

// Users of our own making are taken from a range that no distribution and no container runtime uses
// (systemd, "Users, Groups, UIDs and GIDs on systemd Systems").
const (
	firstUID = 1879048192
	lastUID  = 2147483000
)

// newUID derives an instance's user from its id, past those that are taken.
func newUID(id backstay.InstanceID, taken map[uint32]bool) uint32 {
	h := fnv.New32a()
	h.Write([]byte(id))
	uid := firstUID + h.Sum32()%(lastUID-firstUID)
	for taken[uid] {
		if uid++; uid > lastUID {
			uid = firstUID
		}
	}
	return uid
}
