package backend

import (
	"encoding/json"
	"log/slog"
	"time"

	"github.com/backstay/backstay"
)

// Spec is what is wanted of an instance. A backend refuses what it cannot do as Unsupported, with a
// sentence, and never does less in silence. Its JSON is what the keeper's protocol carries and keeps.
type Spec struct {
	Instance   backstay.InstanceID  `json:"instance"`
	Generation int64                `json:"generation"` // 1 and up; which wanting
	Engine     string               `json:"engine"`
	Version    string               `json:"version"`         // as plans name it: "15"
	Build      string               `json:"build,omitempty"` // a full version: "15.18"; empty leaves it to the backend
	Nodes      int                  `json:"nodes,omitempty"` // 0 and 1 are one node; more are a primary and standbys
	Size       backstay.Size        `json:"size"`
	Volume     Volume               `json:"volume,omitzero"`
	Backup     *BackupPolicy        `json:"backup,omitempty"`  // nil: none are taken
	Backups    int64                `json:"backups,omitempty"` // asked for so far: one more asks for another backup now
	Origin     *Origin              `json:"origin,omitempty"`  // nil: a new instance is empty
	TLS        backstay.Certificate `json:"tls"`
	Settings   json.RawMessage      `json:"settings,omitempty"` // the engine's own, an object
	Private    bool                 `json:"private,omitempty"`  // no endpoint: only for who runs the backend
	Restarts   int64                `json:"restarts,omitempty"` // asked for so far: one more asks for another restart
	// Failovers are asked for so far: one more asks that the standby takes over from the primary, which must be protected.
	Failovers int64   `json:"failovers,omitempty"`
	Reading   Reading `json:"reading,omitzero"` // of an instance of several nodes
	Served    *Served `json:"served,omitempty"`
	// RollBack asks for the data that was kept when the instance left Version by an upgrade, or by the return from one.
	// What was written since is not in it; the data in use is kept in its turn. It is Unsupported if there is none.
	RollBack bool `json:"roll_back,omitempty"`
}

// LogValue is the Spec without the certificate's key.
func (s Spec) LogValue() slog.Value { return backstay.RedactedValue(s) }

// Volume is what is asked of the places where the nodes' data lies. Their size is Size.Storage.
type Volume struct {
	Encrypted bool            `json:"encrypted,omitempty"` // at rest, with the key
	Key       backstay.Secret `json:"key,omitempty"`       // no other instance's; it never changes
}

// LogValue is the volume without its key.
func (v Volume) LogValue() slog.Value { return backstay.RedactedValue(v) }

// BackupPolicy is when an instance is backed up, and how long that is kept.
type BackupPolicy struct {
	Window string          `json:"window"` // in which a backup is begun each day, in UTC: "02:30-03:00"
	Days   int             `json:"days"`   // that a backup, and the archive after it, is kept
	Final  int             `json:"final"`  // days that a last backup of one that goes is kept; 0: none is
	Key    backstay.Secret `json:"key"`    // that all of it is encrypted with; it never changes
}

// DaysAfter is for how many days the backups of an instance outlive it. Who wants no last one has not said that what
// there is should go earlier than it would have.
func (p BackupPolicy) DaysAfter() int { return max(p.Final, p.Days) }

// LogValue is the policy without its key.
func (p BackupPolicy) LogValue() slog.Value { return backstay.RedactedValue(p) }

// Origin is the restore point that an instance begins from: a new one, or one that returns to an earlier moment.
type Origin struct {
	Instance backstay.InstanceID `json:"instance"`        // whose backups and archive they are
	Key      backstay.Secret     `json:"key"`             // of these
	Backup   string              `json:"backup"`          // the backup to begin with, by its ID; empty: the one before At
	At       time.Time           `json:"at,omitzero"`     // the last moment to be in it; zero: as far as the archive goes
	Alone    bool                `json:"alone,omitempty"` // only the backup, without the archive
	Clone    bool                `json:"clone,omitempty"` // the source as it is now, without its backups
	// Return counts how often an instance that has data was asked to return to an earlier moment: one more than before
	// asks for another return. The data before is kept as after an upgrade. It is 0 of a new instance.
	Return int64 `json:"return,omitempty"`
}

// LogValue is the origin without its key.
func (o Origin) LogValue() slog.Value { return backstay.RedactedValue(o) }

// Reading is how an instance is read from that has more nodes than its primary. The zero Reading is as nobody has said.
type Reading struct {
	Replicas *int `json:"replicas,omitempty"` // nodes besides the primary that serve reads; nil: one, the standby
	MaxLag   int  `json:"max_lag,omitempty"`  // seconds that what is read may be old; 0: DefaultMaxLag
}

// DefaultMaxLag is for how long a replica may be behind, and be read from, where nobody has said.
const DefaultMaxLag = 30 * time.Second

// MaxReplicas is how many nodes besides the primary an instance may be read from.
const MaxReplicas = 3

// FurtherReplicas is how many nodes the Spec asks for that only serve reads: beside the primary and the standbys, which
// are the first of those to read from.
func (s Spec) FurtherReplicas() int {
	if s.Nodes < 2 {
		return 0
	}
	return max(0, s.Reading.Most()-(s.Nodes-1))
}

// AllNodes is how many nodes the Spec asks for.
func (s Spec) AllNodes() int { return max(1, s.Nodes) + s.FurtherReplicas() }

// Most is how many nodes besides the primary serve reads, at most.
func (r Reading) Most() int {
	if r.Replicas == nil {
		return 1
	}
	return *r.Replicas
}

// Standby tells whether the standby serves reads.
func (r Reading) Standby() bool { return r.Most() > 0 }

// Limit is how old what is read from a replica may be.
func (r Reading) Limit() time.Duration {
	if r.MaxLag == 0 {
		return DefaultMaxLag
	}
	return time.Duration(r.MaxLag) * time.Second
}

// Served says that the instance has served before, at this endpoint. A backend that has lost its record
// makes it anew around the data that is there, and never makes new data.
type Served struct {
	Endpoint backstay.Endpoint `json:"endpoint"`
	Reads    backstay.Endpoint `json:"reads,omitzero"` // as Status has it
}
