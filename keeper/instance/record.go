package instance

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/volume"
)

// Record is what lies on disk of an instance: its Spec, and what the keeper has decided about it. Fields
// are added and never change their meaning: the record of an earlier version is read as it is.
type Record struct {
	Spec     backend.Spec  `json:"spec"`             // what is wanted
	Before   *backend.Spec `json:"before,omitempty"` // the Spec that served last, while another one is wanted
	Port     int           `json:"port"`             // held for the instance's life; 0 if it is private
	UID      uint32        `json:"uid"`              // of its operating-system user; 0: the keeper's own
	Started  int64         `json:"started"`          // the generation that the process was started with, if it runs
	Restarts int64         `json:"restarts"`         // that this generation asked for: a Spec with more asks for another
	Reached  int64         `json:"reached"`          // the newest generation that served
	Removing bool          `json:"removing"`         // everything of it is to go, this record last

	Volume volume.Kind `json:"volume,omitempty"` // of what its directory is; settled when the record is first written

	LastCopy LastCopy `json:"last_copy,omitempty"` // of an instance that is being removed; empty: it may be owed

	Installation engine.Installation `json:"installation"` // that the process was started from
	Program      string              `json:"program"`      // that it runs, without symbolic links

	Data  string   `json:"data,omitempty"`  // the name of the data directory in use; empty: the first one's
	Kept  *Kept    `json:"kept,omitempty"`  // other data, which the instance can return to
	Gone  []string `json:"gone,omitempty"`  // names of data directories that are to be removed
	Stale bool     `json:"stale,omitempty"` // the data was upgraded, and is not as quick as it was

	BeforeData string `json:"before_data,omitempty"` // the data directory that Before was served from; empty: not known
	Aside      string `json:"aside,omitempty"`       // data that was restored and is whole, but is not in use yet
	Restores   int64  `json:"restores,omitempty"`    // that the data in use came from: see restoresOf
	TakenFor   int64  `json:"taken_for,omitempty"`   // the generation that the data in use was taken for; 0: not known

	Restored backend.Restored `json:"restored,omitzero"` // how the data was restored that was restored last

	Place     Place                `json:"place,omitempty"`     // where the node that serves lies
	NodePort  int                  `json:"node_port,omitempty"` // that it listens at behind a front; 0: there is none
	ReadPort  int                  `json:"read_port,omitempty"` // of the front for reads, held for life; 0: there is none
	Second    *Second              `json:"second,omitempty"`    // nil: there is no other node
	Replicas  []Replica            `json:"replicas,omitempty"`  // further nodes, which are never chosen to serve
	Term      int64                `json:"term,omitempty"`      // another one with each primary, and with other data
	Apart     *Site                `json:"apart,omitempty"`     // where the second place lies; nil: as the first
	Link      backstay.Certificate `json:"link,omitzero"`       // by which the two know each other
	InStep    time.Time            `json:"in_step,omitzero"`    // since when the second lacks nothing; zero: it may
	Promoting bool                 `json:"promoting,omitempty"` // what serves was the second, and is to be the primary
	Failover  *backend.Failover    `json:"failover,omitempty"`  // the last one; nil: there was none
	Failovers int64                `json:"failovers,omitempty"` // that were asked for and made
	Replaced  []time.Time          `json:"replaced,omitempty"`  // when the primary was that nobody asked for, lately

	Drill  *Drill          `json:"drill,omitempty"`  // under way, or not cleared away yet; nil: none is
	Drills []backend.Drill `json:"drills,omitempty"` // the last that ended, the newest last

	Obstacle backend.Obstacle `json:"obstacle,omitzero"` // why the wanted generation is given up, if it is
	Drops    []string         `json:"drops,omitempty"`   // users that are to be dropped before the instance serves
	Full     bool             `json:"full,omitempty"`    // what clients write is refused, until there is clearly room
}

// LogValue is the record without the secrets of its Specs.
func (r Record) LogValue() slog.Value { return backstay.RedactedValue(r) }

// Ports are all that the instance holds; those of its nodes too, if a front is before them.
func (r Record) Ports() (held []int) {
	ports := []int{r.Port, r.NodePort, r.ReadPort}
	if r.Second != nil {
		ports = append(ports, r.Second.Port)
	}
	for _, rep := range r.Replicas {
		ports = append(ports, rep.Port)
	}
	return slices.DeleteFunc(ports, func(port int) bool { return port == 0 })
}

// spec is what the generation wanted; the wanted Spec if no other is known.
func (r Record) spec(generation int64) backend.Spec {
	if r.Before != nil && r.Before.Generation == generation {
		return *r.Before
	}
	return r.Spec
}

// want makes a newer Spec what is wanted, and remembers the one that serves, with the build that serves it.
func (r *Record) want(s backend.Spec) {
	if r.Reached == r.Spec.Generation {
		before := r.Spec
		if r.Installation.Version == before.Version {
			before.Build = cmp.Or(before.Build, r.Installation.FullVersion)
		}
		r.Before, r.BeforeData = &before, dataName(r.Data)
	}
	r.leaveRestore()
	r.Spec, r.Obstacle = s, backend.Obstacle{}
}

// begin notes that the generation is the one that the process is started with, or takes over while it runs. The only
// node of an instance waits for no other one.
func (r *Record) begin(generation int64) {
	s := r.spec(generation)
	if r.Started, r.Restarts = generation, s.Restarts; !hasSeveral(s) {
		r.InStep = time.Time{}
	}
}

// asksForRestart tells whether the generation asks for a restart that the process has not had. A Spec that asks for
// fewer restarts than the one before is an older wish, to which the instance returns: that takes none.
func (r Record) asksForRestart(generation int64) bool {
	return r.spec(generation).Restarts > r.Restarts
}

// Records are the records of all instances of a data directory.
type Records struct {
	Dir     string
	Key     seal.Key // that their secrets are sealed with; the zero Key: they are in clear
	Reserve *Reserve // spent where the disk has no room for a record
	Log     *slog.Logger
}

// recordContext is what the secrets of an instance's record are sealed for.
func recordContext(id backstay.InstanceID) string { return "keeper/instance/" + string(id) }

func (rs Records) path(id backstay.InstanceID) string {
	return filepath.Join(rs.Dir, string(id)+".json")
}

// Has tells whether there is a record of that name, be it readable or not.
func (rs Records) Has(id backstay.InstanceID) bool {
	_, err := os.Lstat(rs.path(id))
	return err == nil
}

// Save makes the record durable. It is Unavailable if the disk is full.
func (rs Records) Save(r Record) error {
	encoded, err := rs.Key.Encode(&r, recordContext(r.Spec.Instance))
	if err != nil {
		return fmt.Errorf("encode record of %s: %w", r.Spec.Instance, err)
	}
	err = atomicfile.Write(rs.path(r.Spec.Instance), encoded, 0o600)
	if isFull(err) && rs.Reserve.Spend() {
		rs.Log.Warn("the disk is full; the room that was kept for records is used up", "instance", r.Spec.Instance)
		err = atomicfile.Write(rs.path(r.Spec.Instance), encoded, 0o600)
	}
	if isFull(err) {
		return backstay.Wrapf(err, backstay.Unavailable, "The disk is full: ask the operator for more room.")
	}
	return err
}

// drillPath is where it is noted what a drill has seen so far.
func (rs Records) drillPath(id backstay.InstanceID) string {
	return filepath.Join(rs.Dir, string(id)+".drill")
}

// Remove removes the record. An absent one is success.
func (rs Records) Remove(id backstay.InstanceID) error {
	return errors.Join(atomicfile.Remove(rs.drillPath(id)), atomicfile.Remove(rs.path(id)))
}

// damagedSuffix is behind the names of records that were moved aside.
const damagedSuffix = ".damaged"

// MoveAside gives a record that cannot be read another name, under which its content is kept. An absent
// one is success.
func (rs Records) MoveAside(id backstay.InstanceID, now time.Time) error {
	if !rs.Has(id) {
		return nil
	}
	aside := rs.path(id) + "." + now.UTC().Format("20060102T150405.000") + damagedSuffix
	if err := os.Rename(rs.path(id), aside); err != nil {
		return err
	}
	rs.Log.Warn("a record that cannot be read was moved aside", "instance", id, "now", aside)
	return atomicfile.SyncDir(rs.Dir)
}

// Load reads all records as [Records.Read] does. What a keeper left that was killed while it wrote one is removed, and
// secrets that an earlier one has left in clear are sealed.
func (rs Records) Load() ([]Record, error) {
	entries, err := os.ReadDir(rs.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			if err := os.Remove(filepath.Join(rs.Dir, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	return rs.read(func(r Record, found seal.Found) {
		if found.Clear == 0 || rs.Key == (seal.Key{}) {
			return
		}
		if err := rs.Save(r); err != nil { // it is sealed when it is saved next
			rs.Log.Error("the secrets of a record stay in clear", "instance", r.Spec.Instance, "error", err)
		}
	})
}

// Read reads all records, those of private instances first, and changes nothing. One that cannot be read is left out,
// and told of: the others must live. Without a key, what is sealed stays that.
func (rs Records) Read() ([]Record, error) {
	return rs.read(func(Record, seal.Found) {})
}

// Sealed tells whether there is a record with secrets that the key does not open because there is none.
func (rs Records) Sealed() (sealed bool, err error) {
	_, err = rs.read(func(_ Record, found seal.Found) { sealed = sealed || found.Sealed > 0 })
	return sealed, err
}

func (rs Records) read(see func(Record, seal.Found)) ([]Record, error) {
	entries, err := os.ReadDir(rs.Dir)
	if err != nil {
		return nil, err
	}
	var records []Record
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		r, found, err := rs.open(backstay.InstanceID(id))
		if err != nil {
			rs.Log.Error("an instance is left as it is, because its record cannot be read", "instance", id, "error", err)
			continue
		}
		see(r, found)
		records = append(records, r)
	}
	slices.SortStableFunc(records, func(a, b Record) int { return rank(a) - rank(b) })
	return records, nil
}

// rank is 0 for our own databases, without which the control plane does not come up.
func rank(r Record) int {
	if r.Spec.Private {
		return 0
	}
	return 1
}

// Of reads the record of one instance, and changes nothing. It is fs.ErrNotExist if there is none, and fails if its
// secrets are sealed and there is no key.
func (rs Records) Of(id backstay.InstanceID) (Record, error) {
	r, found, err := rs.open(id)
	if err == nil && found.Sealed > 0 {
		err = errors.New("its secrets are sealed, and there is no key to open them")
	}
	return r, err
}

func (rs Records) open(id backstay.InstanceID) (r Record, found seal.Found, err error) {
	text, err := os.ReadFile(rs.path(id))
	if err != nil {
		return r, found, err
	}
	if found, err = rs.Key.Decode(text, &r, recordContext(id)); err != nil {
		return r, found, err
	}
	if r.Spec.Instance != id || r.Spec.Generation < 1 {
		return r, found, errors.New("it is of another instance, or has no generation")
	}
	return r, found, nil
}
