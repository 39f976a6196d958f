package kubernetes

import (
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// origin is what the data of an instance begins from, as it was found when that was decided.
type origin struct {
	Generation int64               `json:"generation"` // that asks for it
	Restores   int64               `json:"restores"`   // see restoresOf
	Clone      bool                `json:"clone,omitempty"`
	Of         backstay.InstanceID `json:"of"`
	Private    bool                `json:"private,omitempty"` // the source of a clone
	Line       string              `json:"line,omitempty"`
	Backup     string              `json:"backup,omitempty"`
	Until      time.Time           `json:"until,omitzero"`    // zero: as far as the archive goes
	Alone      bool                `json:"alone,omitempty"`   // without the archive
	Version    string              `json:"version,omitempty"` // of the data, where that is the way back from an upgrade
	Kept       *kept               `json:"kept,omitempty"`    // that way back, which stays where it is not taken
	Passed     string              `json:"passed,omitempty"`
	Own        bool                `json:"own,omitempty"`     // the data before itself, with its users
	Emptied    bool                `json:"emptied,omitempty"` // nothing is left of the data before
	Done       bool                `json:"done,omitempty"`    // the data is there, and has no users
	Before     *kept               `json:"before,omitempty"`  // where all of the data before is; nil: nothing had served
	Dropped    []string            `json:"dropped,omitempty"` // users of the data before who have been dropped since
}

// restoresOf counts the restores that a Spec asks for: an instance that begins from a restore point has one, and each
// return to an earlier moment is one more.
func restoresOf(s backend.Spec) int64 {
	if s.Origin == nil {
		return 0
	}
	return s.Origin.Return + 1
}

// settled tells whether no data is being brought.
func (r record) settled() bool {
	return !r.asksForData() && !r.strays() && (r.Bring == nil || r.Bring.Done)
}

// asksForData tells whether the Spec asks for other data, and nobody has decided yet what that is. What was brought for
// another one, which was given up before it was reached, is no answer to it.
func (r record) asksForData() bool {
	isThere := r.Bring != nil && r.Bring.Done && r.Bring.Generation == r.Spec.Generation
	return restoresOf(r.Spec) > r.Restores && !isThere || !r.rising() && r.wantsBack(r.Spec)
}

// brings tells whether the Cluster is to be made from somewhere.
func (r record) brings() bool { return r.Bring != nil && !r.Bring.Done }

// supplants tells whether other data takes the place of the data before, and is not reached yet: until then the Spec
// that asks for it may be given up.
func (r record) supplants() bool {
	b := r.Bring
	return b != nil && b.Before != nil && !(b.Own && b.Done) && !r.hasReached(b.Generation)
}

// strays tells whether the data that is there is that of a Spec which was given up before it was reached.
func (r record) strays() bool {
	return r.supplants() && r.Bring.Done && r.Bring.Generation != r.Spec.Generation
}

// before is where all of the data will be that is the instance's now, once it is archived.
func (r record) before() *kept {
	switch {
	case r.supplants():
		return r.Bring.Before
	case r.Reached == nil || len(r.Keeping.Lines) == 0:
		return nil
	}
	return &kept{Line: r.Keeping.current().Name, Version: r.Reached.Version}
}

// replaced is the record with other data to be brought, which takes the place of what is there.
func (r record) replaced(by origin) record {
	by.Before = r.before()
	if r.supplants() {
		by.Dropped = r.Bring.Dropped
	}
	r.Bring = &by
	return r
}

func keyOf(s backend.Spec) backstay.Secret {
	if s.Backup == nil {
		return ""
	}
	return s.Backup.Key
}

// withOwnLine has a history begin, of an instance that is to be backed up.
func (r record) withOwnLine(now time.Time) record {
	if keeps(r) {
		r.Keeping = r.Keeping.withLine(now)
	}
	return r
}
