package terms

import (
	"bytes"
	"cmp"
	"encoding/json"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// Accepted is what was agreed on of an instance before a change.
type Accepted struct {
	Parameters json.RawMessage
	Spec       backend.Spec
	Windows    Windows // in force
	Chosen     Windows // those of them that users have chosen; the others make way for one that is
	Chance     uint64  // the seed of what chance decides about the instance
	Build      string  // the full version that serves
}

// LogValue is what was accepted, redacted.
func (a Accepted) LogValue() slog.Value { return backstay.RedactedValue(a) }

// Change is what an update asks for. What it does not name stays.
type Change struct {
	Plan       *Plan           // to go to; nil: the plan stays
	Parameters json.RawMessage // an object of those that change; the others stay
	Upgrade    bool            // to the plan's version and its newest build, as its maintenance info says
}

// When says when a change is to be made.
type When int

const (
	Now      When = iota
	AtWindow      // when the maintenance window opens next
	Withdraw      // never: what waits for the maintenance window is not to be made either
)

// Agreed is what a change comes to.
type Agreed struct {
	Terms
	Windows Windows // in force at once, whatever When says
	Chosen  Windows // those of them that users have chosen, now or before
	When    When
	Origin  *Origin // what the data is to come from; nil: it is new, or stays
	// Asked is what a change that waits has to keep of its parameters, to be asked for again when the window opens. It
	// has none that say when.
	Asked json.RawMessage
}

// LogValue is the agreement, redacted.
func (a Agreed) LogValue() slog.Value { return backstay.RedactedValue(a) }

// Changes reports whether the instance that was accepted before has to be changed for it. Maintenance windows do not
// count: no backend knows of them.
func (a Agreed) Changes(before Accepted) bool {
	had := before.Spec
	had.Build = cmp.Or(had.Build, before.Build)
	return a.Origin != nil || !sameObject(before.Parameters, a.Parameters) || !sameObject(had.Settings, a.Spec.Settings) ||
		!reflect.DeepEqual(withoutSettings(had), withoutSettings(a.Spec))
}

func withoutSettings(s backend.Spec) backend.Spec {
	s.Settings = nil
	return s
}

// sameObject reports whether two objects say the same. Nil is an empty one, and the platform's parameters do not count.
func sameObject(a, b json.RawMessage) bool {
	x, errX := parse(a)
	y, errY := parse(b)
	if errX != nil || errY != nil {
		return bytes.Equal(a, b)
	}
	return reflect.DeepEqual(x.lasting().values(), y.lasting().values())
}

// Change agrees on what an instance of the plan becomes, or refuses the change: as Unsupported if its rules do not sell
// it, as Invalid if its parameters are wrong. All of it is checked here, before any of it is done.
func (p Plan) Change(before Accepted, c Change) (Agreed, error) {
	if p.Engine == "" { // the plan is not sold any more
		p.Nodes = before.Spec.Nodes
	}
	to := p
	if c.Plan != nil {
		to = *c.Plan
	}
	given, wished, err := to.read(c.Parameters)
	if err != nil {
		return Agreed{}, err
	}
	if err := combination(c, wished, given); err != nil {
		return Agreed{}, err
	}
	if c.Plan != nil {
		if err := p.leave(before, to, wished); err != nil {
			return Agreed{}, err
		}
	}
	agreed := Agreed{Windows: before.Windows, Chosen: before.Chosen, When: wished.when(c, given)}
	if asked := wished.windows(); asked != (Windows{}) {
		agreed.Chosen = before.Chosen.with(asked)
		if agreed.Windows, err = p.Windows.with(agreed.Chosen).Complete(before.Chance); err != nil {
			return Agreed{}, err
		}
	}
	if agreed.Asked, err = given.without(scheduling...).encode(); err != nil {
		return Agreed{}, err
	}
	if wished.ReturnTo != nil {
		agreed.Origin = &Origin{Kind: Return, At: wished.ReturnTo.Time}
	}
	if agreed.Terms, err = to.change(before, c, wished, given); err != nil {
		return agreed, err
	}
	if wished.BackUp != "" {
		agreed.Spec.Backups++
	}
	agreed.Spec.Backup, err = to.changePolicy(before, agreed.Windows, wished)
	return agreed, err
}

// changePolicy is how the instance is backed up after the change. What is asked of the backups of an instance that has
// none is Unsupported.
func (p Plan) changePolicy(before Accepted, windows Windows, w wishes) (*backend.BackupPolicy, error) {
	policy := p.policy(before.Spec.Backup, windows, w.SkipFinal)
	if policy == nil && (w.BackUp != "" || w.ReturnTo != nil || w.wantsFinal()) {
		return nil, backstay.Errorf(backstay.Unsupported, "This service instance is not backed up, as its plan says. "+
			"Change to a plan that has backups, with -p.")
	}
	return policy, nil
}

// wantsFinal tells that a last backup is asked for in so many words.
func (w wishes) wantsFinal() bool { return w.SkipFinal != nil && !*w.SkipFinal }

// scheduling names the parameters that say when something happens, and not what.
var scheduling = []string{"apply_at_maintenance_window", "preferred_maintenance_window", "preferred_backup_window"}

// read checks the parameters of a change by themselves.
func (p Plan) read(parameters json.RawMessage) (given object, w wishes, err error) {
	if given, err = parse(parameters); err != nil {
		return nil, w, err
	}
	if err := cmp.Or(p.alone(given), p.unrestorable(given), p.mayChange(given)); err != nil {
		return nil, w, err
	}
	if err := p.UpdateRules().Check(parameters); err != nil {
		return nil, w, err
	}
	if err := given.contradiction(); err != nil {
		return nil, w, err
	}
	w, err = parseWishes(parameters)
	return given.asking(), w, err
}

// mayChange refuses parameters that never change, as Invalid, and those of a plan that is no longer sold, as
// Unsupported.
func (p Plan) mayChange(given object) error {
	changeable := p.UpdateRules().properties()
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch _, ofNew := p.Create.properties()[name]; {
		case changeable[name] != nil:
		case platforms[name].only:
			return backstay.Errorf(backstay.Invalid, "Parameter %s is of a new service instance: give it to cf create-service. "+
				"{\"restore_to_point_in_time\": \"…\"} returns this one to an earlier moment, where its service can.", name)
		case ofNew:
			return backstay.Errorf(backstay.Invalid, "Parameter %s is decided when a service instance is created, and stays. "+
				"Create a new service instance with another %s, and copy the data.", name, name)
		case p.Engine == "":
			return backstay.Errorf(backstay.Unsupported, "The plan of this service instance is not offered any more, and only "+
				"%s can change. Change to a plan that is offered, with -p.",
				strings.Join(slices.Sorted(maps.Keys(changeable)), ", "))
		}
	}
	return nil
}

// when says when the change is to be made.
func (w wishes) when(c Change, given object) When {
	switch {
	case w.AtWindow == nil:
		return Now
	case *w.AtWindow:
		return AtWindow
	case c.Plan == nil && !c.Upgrade && len(given.without(scheduling...)) == 0:
		return Withdraw
	}
	return Now
}

// change lays the change over what was accepted. The plan is the one that the instance has then.
func (p Plan) change(before Accepted, c Change, w wishes, given object) (t Terms, err error) {
	accepted, err := parse(before.Parameters)
	if err != nil {
		return t, err
	}
	merged, err := accepted.merge(given.lasting())
	if err != nil {
		return t, err
	}
	if c.Plan != nil || given[settingsKey] != nil {
		if err := p.takes(merged[settingsKey]); err != nil {
			return t, err
		}
	}
	if t.Parameters, err = merged.lasting().encode(); err != nil {
		return t, err
	}
	t.Spec = before.Spec
	if p.Engine != "" { // else it is no longer sold, and gives what it gave
		if t.Spec.Settings, err = p.engineSettings(merged); err != nil {
			return t, err
		}
		storage := max(p.Size.Storage, before.Spec.Size.Storage) // what the catalog says now may be less
		t.Spec.Size, t.Spec.Nodes = p.Size, p.Nodes
		t.Spec.Size.Storage = storage
	}
	if t.Spec.Reading, err = merged.reading(); err != nil {
		return t, err
	}
	t.Spec.Version, t.Spec.Build = p.build(before, c, w)
	if t.Spec.Version != before.Spec.Version {
		t.Spec.RollBack = w.RollBack
	}
	switch {
	case w.FailOver || w.TestFailOver:
		t.Spec.Failovers++
	case w.Reboot:
		t.Spec.Restarts++
	}
	return t, nil
}

// build says which version serves after the change. Only a change of plan, or an upgrade, leads to another version.
func (p Plan) build(before Accepted, c Change, w wishes) (version, build string) {
	version, build = before.Spec.Version, cmp.Or(before.Spec.Build, before.Build)
	if (c.Plan != nil || c.Upgrade) && p.Version != "" && p.Version != version {
		return p.Version, p.Builds.Newest(p.Version, "")
	}
	if c.Upgrade || w.Minor {
		build = p.Builds.Newest(version, build)
	}
	return version, build
}
