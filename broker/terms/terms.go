package terms

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"maps"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/window"
)

// Plan is the terms of a plan: what an instance of it is given, and what its users may ask for.
type Plan struct {
	Name       string
	Engine     string
	Version    string // of new instances, and of those that change to the plan or are upgraded
	Builds     Builds
	Size       backstay.Size
	Encrypted  bool            // at rest
	Nodes      int             // 2: a primary and a standby; 0 and 1: one node
	Settings   map[string]any  // of the engine, that users cannot choose; they go over parameters of the same names
	Tunable    json.RawMessage // what the parameter "settings" takes, as backend.EngineVersion says it; nil: there is none
	Create     Rules           // for the engine's parameters of a new instance
	Update     Rules           // for those that an instance may change; nil: they stay
	Changeable bool            // an instance may leave this plan for another one
	Windows    Windows         // of its instances; a zero window is a random one for each instance

	Backups       int                    // days that backups of an instance are kept; 0: none are taken
	RestorePoints backstay.RestorePoints // that there are then
}

// Windows are when an instance may be worked on. A zero window was not chosen.
type Windows struct {
	Maintenance window.Weekly
	Backup      window.Daily
}

// Complete puts random windows in the place of those that were not chosen. It is Invalid if the windows overlap.
func (w Windows) Complete(seed uint64) (Windows, error) {
	maintenance, backup, err := window.Complete(seed, w.Maintenance, w.Backup)
	return Windows{maintenance, backup}, err
}

// with returns the windows, with the given ones in the place of those that are not zero there.
func (w Windows) with(given Windows) Windows {
	if given.Maintenance != (window.Weekly{}) {
		w.Maintenance = given.Maintenance
	}
	if given.Backup != (window.Daily{}) {
		w.Backup = given.Backup
	}
	return w
}

// Terms are what has been agreed on for one instance.
type Terms struct {
	Parameters json.RawMessage // all that its users gave and that lasts, as the ledger keeps it; nil if that is nothing
	Spec       backend.Spec    // of a new instance what plan and parameters decide; else the accepted one, changed
}

// LogValue is the terms, redacted.
func (t Terms) LogValue() slog.Value { return backstay.RedactedValue(t) }

// New agrees on a new instance of the plan with the given parameters, or refuses them as Invalid. Its Parameters are
// the given ones. The seed decides about the windows that neither the plan nor the parameters choose. The policy of its
// backups has no key yet.
func (p Plan) New(given json.RawMessage, seed uint64) (Agreed, error) {
	parameters, wished, err := p.readNew(given)
	if err != nil {
		return Agreed{}, err
	}
	origin, err := wished.origin()
	if err != nil {
		return Agreed{}, err
	}
	if p.Backups == 0 && wished.wantsFinal() {
		return Agreed{}, backstay.Errorf(backstay.Unsupported, "Plan %s is not backed up, so no last backup can be kept: "+
			"leave skip_final_snapshot out, or choose a plan that has backups.", p.Name)
	}
	windows, err := p.Windows.with(wished.windows()).Complete(seed)
	if err != nil {
		return Agreed{}, err
	}
	reading, err := parameters.reading()
	if err != nil {
		return Agreed{}, err
	}
	settings, err := p.engineSettings(parameters)
	return Agreed{Windows: windows, Chosen: wished.windows(), Origin: origin, Terms: Terms{
		Parameters: given, Spec: backend.Spec{
			Engine: p.Engine, Version: p.Version, Build: p.Builds.Newest(p.Version, ""), Size: p.Size, Nodes: p.Nodes,
			Volume: backend.Volume{Encrypted: p.Encrypted}, Settings: settings, Backup: p.policy(nil, windows, wished.SkipFinal),
			Reading: reading,
		},
	}}, err
}

// readNew checks the parameters of a new instance by themselves.
func (p Plan) readNew(given json.RawMessage) (parameters object, w wishes, err error) {
	if parameters, err = parse(given); err != nil {
		return nil, w, err
	}
	if err := cmp.Or(p.alone(parameters.lasting()), p.unrestorable(parameters), p.CreateRules().Check(given)); err != nil {
		return nil, w, err
	}
	if w, err = parseWishes(given); err != nil {
		return nil, w, err
	}
	return parameters, w, cmp.Or(parameters.contradiction(), p.takes(parameters[settingsKey]))
}

// engineSettings are what the engine is told: the parameters that are not the platform's, and what the plan adds.
func (p Plan) engineSettings(parameters object) (json.RawMessage, error) {
	settings := parameters.engines()
	added := p.Create.defaults(parameters)
	maps.Copy(added, p.Settings)
	for name, value := range added {
		if err := settings.put(name, value); err != nil {
			return nil, err
		}
	}
	return settings.encode()
}
