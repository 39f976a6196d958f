package backend

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay"
)

// Archive is what a backend that takes backups does besides. What is asked of an instance is answered also after it
// was removed, for as long as backups of it are kept.
type Archive interface {
	// Backups tells what an instance can be restored to. It is NotFound if nothing is kept of it.
	Backups(ctx context.Context, id backstay.InstanceID) (Backups, error)
	// AllBackups lists Backups of all instances, by their ids.
	AllBackups(ctx context.Context) ([]Backups, error)
	// Prove restores the newest backup of an instance into a scratch place now, starts it there and throws it away. It
	// returns when that has ended; the error is Invalid where the backup is damaged, and Unsupported for an instance that
	// is removed: nothing of it can be started here any more.
	Prove(ctx context.Context, id backstay.InstanceID) (Proof, error)
	// Discard is Remove without the last backup, also of an instance whose removal waits for one.
	Discard(ctx context.Context, id backstay.InstanceID) error
	// Learn has the backend keep backups of which it has no record, as on a new machine, where only the repository is
	// left of an instance that was removed. What it knows already stays as it is. It is NotFound if there are none.
	Learn(ctx context.Context, left Legacy) error
	// Forget removes the backups of an instance that was removed. An absent one is success.
	Forget(ctx context.Context, id backstay.InstanceID) error
}

// Backups is what is kept of one instance in the repository. Earliest and Latest are the moments between which any
// second can be restored, except in the Gaps and from there until the next backup; both are zero where there is none.
type Backups struct {
	Instance backstay.InstanceID `json:"instance"`
	Engine   string              `json:"engine"`
	Version  string              `json:"version"` // as plans name it
	List     []backstay.Backup   `json:"list"`    // the oldest first
	Earliest time.Time           `json:"earliest,omitzero"`
	Latest   time.Time           `json:"latest,omitzero"`
	Gaps     []backstay.Gap      `json:"gaps,omitempty"`
	Proof    Proof               `json:"proof,omitzero"`     // the last one
	Asked    int64               `json:"asked,omitempty"`    // the last Spec.Backups answered, if by a failure
	Running  bool                `json:"running,omitempty"`  // a backup is being taken
	Failed   string              `json:"failed,omitempty"`   // why the last backup could not be taken; empty: it was
	Troubles []backstay.Trouble  `json:"troubles,omitempty"` // for users: why backups or the archive are behind
	Removed  time.Time           `json:"removed,omitzero"`   // when the instance was removed
	Until    time.Time           `json:"until,omitzero"`     // and until when its last backup is kept
}

// DamageTrouble is the kind of the trouble that some of what is kept is damaged or lost.
const DamageTrouble = "damage"

// Has tells whether there is a trouble of that kind.
func (b Backups) Has(kind string) bool {
	return slices.ContainsFunc(b.Troubles, func(t backstay.Trouble) bool { return t.Kind == kind })
}

// Trouble is what users read of all troubles; empty: there is none.
func (b Backups) Trouble() string {
	var all []string
	for _, t := range b.Troubles {
		all = append(all, t.Sentence)
	}
	return strings.Join(all, " ")
}

// Legacy is what it takes to find the backups that an instance has left in a repository, and to keep them as long as
// they were to be kept.
type Legacy struct {
	Instance backstay.InstanceID `json:"instance"`
	Engine   string              `json:"engine"`
	Version  string              `json:"version"` // as plans name it
	Policy   BackupPolicy        `json:"policy"`
	Removed  time.Time           `json:"removed,omitzero"` // when the instance was removed; zero: it was not
	Until    time.Time           `json:"until,omitzero"`   // and until when its last backup is kept
}

// LogValue is the legacy without its key.
func (l Legacy) LogValue() slog.Value { return backstay.RedactedValue(l) }

// Proof is a restore that was tried.
type Proof struct {
	Backup string        `json:"backup"` // the ID
	At     time.Time     `json:"at"`
	Took   time.Duration `json:"took"`
	Reason string        `json:"reason,omitempty"` // why it failed; empty: it did not
	// Disproved is that the backup cannot be restored; else a proof that has failed could not be tried.
	Disproved bool `json:"disproved,omitempty"`
}
