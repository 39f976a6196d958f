package terms

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// Plan is the terms of a plan: what an instance of it is given, and what its users may ask for.
type Plan struct {
	Engine     string
	Version    string
	Size       backstay.Size
	Settings   map[string]any // of the engine, that users cannot choose; they go over parameters of the same names
	Create     Rules          // parameters of a new instance
	Update     Rules          // parameters that an instance may change to; nil: its parameters stay
	Changeable bool           // an instance may leave this plan for another one of the same engine and version
}

// Terms are what has been agreed on for one instance.
type Terms struct {
	Parameters json.RawMessage // all that its users gave, as the ledger keeps them; nil if that is nothing
	Spec       backend.Spec    // engine, version, size and settings; the rest of it is for the broker to fill in
}

// LogValue is the terms, redacted.
func (t Terms) LogValue() slog.Value { return backstay.RedactedValue(t) }

// New agrees on a new instance of the plan with the given parameters, or refuses them as Invalid.
func (p Plan) New(given json.RawMessage) (Terms, error) {
	if err := p.accept(p.Create, given); err != nil {
		return Terms{}, err
	}
	return p.agree(given)
}

// Change is what an update asks for. What it does not name stays.
type Change struct {
	Plan       *Plan           // to go to
	Parameters json.RawMessage // an object of those that change; the others stay
	Upgrade    bool            // to the version that the catalog's maintenance info names
}

// Change agrees on what an instance of the plan, with the parameters that were accepted before, becomes.
// This is the one place that refuses changes which are not sold, as Unsupported.
func (p Plan) Change(accepted json.RawMessage, c Change) (Terms, error) {
	to := p
	if c.Plan != nil {
		to = *c.Plan
	}
	switch {
	case c.Plan != nil && (!p.Changeable || to.Engine != p.Engine || to.Version != p.Version):
		return Terms{}, backstay.Errorf(backstay.Unsupported, "The service does not support changing plans.")
	case c.Parameters != nil && to.Update == nil:
		return Terms{}, backstay.Errorf(backstay.Unsupported, "The service does not support changing parameters.")
	case c.Upgrade:
		return Terms{}, backstay.Errorf(backstay.Unsupported, "The service does not support upgrades.")
	}
	if err := to.accept(to.Update, c.Parameters); err != nil {
		return Terms{}, err
	}
	merged, err := merge(accepted, c.Parameters)
	if err != nil {
		return Terms{}, err
	}
	return to.agree(merged)
}

// agree makes the Spec of what has been accepted: what is not the platform's is the engine's own.
func (p Plan) agree(parameters json.RawMessage) (Terms, error) {
	settings, err := p.settings(parameters)
	return Terms{Parameters: parameters, Spec: backend.Spec{
		Engine: p.Engine, Version: p.Version, Size: p.Size, Settings: settings,
	}}, err
}

// settings are what users have given, and what the plan adds to that.
func (p Plan) settings(parameters json.RawMessage) (json.RawMessage, error) {
	added := p.Create.defaults(parameters)
	maps.Copy(added, p.Settings)
	if len(added) == 0 {
		return parameters, nil
	}
	encoded, err := json.Marshal(added)
	if err != nil {
		return nil, fmt.Errorf("encode settings of a checked catalog: %w", err)
	}
	return merge(parameters, encoded)
}

// accept refuses what the rules do not allow, and what would be the platform's to fulfil: it fulfils no
// such parameter yet, whatever a catalog says.
func (p Plan) accept(rules Rules, given json.RawMessage) error {
	if err := rules.Check(given); err != nil || given == nil {
		return err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(given, &object); err != nil {
		return backstay.Errorf(backstay.Invalid, "Parameters must be a JSON object")
	}
	var platforms []string
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if isPlatforms(name) {
			platforms = append(platforms, name)
		}
	}
	if platforms != nil {
		return backstay.Errorf(backstay.Invalid, "%s", rules.unknown(platforms))
	}
	return nil
}

// isPlatforms tells whether a parameter is for the platform to fulfil, whatever the engine is: when it
// works on an instance, how long it keeps what it copied, what a new instance begins from. The names are those
// that users of the guide's system know.
func isPlatforms(parameter string) bool {
	switch parameter {
	case "preferred_maintenance_window", "apply_at_maintenance_window", "update_minor_version_to_latest",
		"reboot", "force_failover",
		"preferred_backup_window", "backup_retention_period", "skip_final_snapshot",
		"restore_from_latest_snapshot_of", "restore_from_latest_snapshot_before",
		"restore_from_point_in_time_of", "restore_from_point_in_time_before":
		return true
	}
	return false
}

// merge returns the accepted parameters with the given ones in the place of those of the same names.
func merge(accepted, given json.RawMessage) (json.RawMessage, error) {
	if given == nil {
		return accepted, nil
	}
	all := map[string]json.RawMessage{}
	for _, parameters := range []json.RawMessage{accepted, given} {
		if parameters == nil {
			continue
		}
		if err := json.Unmarshal(parameters, &all); err != nil {
			return nil, fmt.Errorf("decode parameters that were accepted: %w", err)
		}
	}
	return json.Marshal(all)
}
