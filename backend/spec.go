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
	Backup     *BackupPolicy        `json:"backup,omitempty"` // nil: none are taken
	Origin     *Origin              `json:"origin,omitempty"` // nil: a new instance is empty
	TLS        backstay.Certificate `json:"tls"`
	Settings   json.RawMessage      `json:"settings,omitempty"` // the engine's own, an object
	Private    bool                 `json:"private,omitempty"`  // no endpoint: only for who runs the backend
	Restarts   int64                `json:"restarts,omitempty"` // asked for so far: one more asks for another restart
	Served     *Served              `json:"served,omitempty"`
	// RollBack asks for the data that was kept when the instance left Version by an upgrade, or by the return from one.
	// What was written since is not in it; the data in use is kept in its turn. It is Unsupported if there is none.
	RollBack bool `json:"roll_back,omitempty"`
}

// LogValue is the Spec without the certificate's key.
func (s Spec) LogValue() slog.Value { return backstay.RedactedValue(s) }

// Volume is what is asked of the places where the nodes' data lies. Their size is Size.Storage.
type Volume struct {
	Encrypted bool `json:"encrypted,omitempty"` // at rest, with a key of its own
}

// BackupPolicy is when an instance is backed up, and how long that is kept.
type BackupPolicy struct {
	Window string `json:"window"` // in which a backup is begun each day, in UTC: "02:30-03:00"
	Days   int    `json:"days"`   // that a backup, and the archive after it, is kept
}

// Origin is the restore point that a new instance begins from.
type Origin struct {
	Instance backstay.InstanceID `json:"instance"`         // whose backups and archive they are
	At       time.Time           `json:"at,omitzero"`      // the moment to return to; zero: the latest
	Backup   string              `json:"backup,omitempty"` // one backup, as it is; empty: by At
}

// Served says that the instance has served before, at this endpoint. A backend that has lost its record
// makes it anew around the data that is there, and never makes new data.
type Served struct {
	Endpoint backstay.Endpoint `json:"endpoint"`
}
