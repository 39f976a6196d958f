package terms

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/window"
)

// platformParameter is a parameter that the platform fulfils, whatever the engine is.
type platformParameter struct {
	create bool                   // of a new instance too
	only   bool                   // of a new instance, and no other
	needs  backstay.RestorePoints // that instances have
	nodes  int                    // that they have at least
	lasts  bool                   // it is one of what the instance is, and not done once
	schema Rules
}

// taken tells whether a new instance of the plan, or one that is there, takes the parameter.
func (p Plan) taken(parameter platformParameter, isNew bool) bool {
	fits := parameter.create && isNew || !parameter.only && !isNew
	return fits && p.restores(parameter.needs) && p.Nodes >= parameter.nodes
}

// platforms are the platform's parameters. Their names are those that users of the guide's system know.
var platforms = map[string]platformParameter{
	"preferred_maintenance_window": {create: true, schema: Rules{"type": "string", "description": "The half hour or " +
		"more of each week, in UTC, in which the service instance may be restarted, such as tue:04:00-tue:04:30."}},
	"preferred_backup_window": {create: true, schema: Rules{"type": "string",
		"description": "The half hour or more of " +
			"each day, in UTC, in which the service instance is backed up if its plan has backups, such as 02:00-02:30."}},
	"skip_final_snapshot": {create: true, schema: Rules{"type": "boolean",
		"description": "Whether no last backup is taken and kept when the service instance is deleted. Those that there " +
			"are then stay for as long as backups are kept."}},
	"restore_from_latest_snapshot_of": {create: true, only: true, needs: backstay.Backups, schema: Rules{
		"type": "string", "description": "The GUID of the service instance, also of one that " +
			"was deleted, whose newest backup the new one begins from."}},
	"restore_from_latest_snapshot_before": {create: true, only: true, needs: backstay.Backups, schema: Rules{
		"type": "string", "description": "The newest backup that was ready before this time, in UTC, is " +
			"restored, such as 2018-04-01 00:00:00."}},
	"restore_from_point_in_time_of": {create: true, only: true, needs: backstay.AnySecond, schema: Rules{
		"type": "string", "description": "The GUID of the service instance, also of one that " +
			"was deleted, whose data of a second the new one begins from."}},
	"restore_from_point_in_time_before": {create: true, only: true, needs: backstay.AnySecond, schema: Rules{
		"type": "string", "description": "That second, in UTC, such as 2018-04-01 00:00:00. Without it, all " +
			"is restored that there is."}},
	"clone_of": {create: true, only: true, needs: backstay.Backups, schema: Rules{
		"type": "string", "description": "The GUID of the service " +
			"instance that the new one is a copy of, as that is now."}},
	"backup": {needs: backstay.Backups, schema: Rules{"enum": []any{"now"},
		"description": "now: a backup is taken at once."}},
	"restore_to_point_in_time": {needs: backstay.AnySecond, schema: Rules{
		"type": "string", "description": "The second, in UTC, to " +
			"whose data the service instance returns, such as 2018-04-01 00:00:00. A backup of now is taken first."}},
	"apply_at_maintenance_window": {schema: Rules{"type": "boolean", "description": "Whether what else is asked for " +
		"waits for the maintenance window. Alone, false withdraws what waits."}},
	"update_minor_version_to_latest": {schema: Rules{"type": "boolean",
		"description": "Whether the service instance " +
			"goes to the newest minor version that is installed."}},
	"roll_back_upgrade": {schema: Rules{"type": "boolean",
		"description": "With a plan of the earlier version: whether " +
			"the service instance returns to the data from before its last upgrade, for as long as that is kept. What was " +
			"written since the upgrade is lost."}},
	"reboot": {schema: Rules{"type": "boolean", "description": "Whether the service instance is restarted."}},
	"force_failover": {nodes: 2, schema: Rules{"type": "boolean", "description": "With reboot: whether the " +
		"standby takes over instead."}},
	replicasKey: {create: true, nodes: 2, lasts: true, schema: Rules{"type": "integer", "minimum": 0,
		"maximum": backend.MaxReplicas,
		"description": "How many nodes besides the primary serve bindings with {\"read_only\": true, \"replica\": true}: " +
			"1, which is the standby, if nobody says otherwise. Further ones follow the primary, too."}},
	maxLagKey: {create: true, nodes: 2, lasts: true, schema: Rules{"type": "integer", "minimum": 1, "maximum": 3600,
		"description": "How many seconds what is read from a replica may be old, 30 if nobody says otherwise. One that is " +
			"further behind is not read from until it has caught up."}},
	"test_failover": {nodes: 2, schema: Rules{"type": "boolean", "description": "Alone: whether the standby takes over, " +
		"to see how an app deals with that."}},
}

// wishes are what users ask of the platform.
type wishes struct {
	Maintenance    *window.Weekly `json:"preferred_maintenance_window"`
	Backup         *window.Daily  `json:"preferred_backup_window"`
	SkipFinal      *bool          `json:"skip_final_snapshot"`
	SnapshotOf     *string        `json:"restore_from_latest_snapshot_of"`
	SnapshotBefore *moment        `json:"restore_from_latest_snapshot_before"`
	MomentOf       *string        `json:"restore_from_point_in_time_of"`
	MomentBefore   *moment        `json:"restore_from_point_in_time_before"`
	CloneOf        *string        `json:"clone_of"`
	BackUp         string         `json:"backup"`
	ReturnTo       *moment        `json:"restore_to_point_in_time"`
	AtWindow       *bool          `json:"apply_at_maintenance_window"`
	Minor          bool           `json:"update_minor_version_to_latest"`
	RollBack       bool           `json:"roll_back_upgrade"`
	Reboot         bool           `json:"reboot"`
	FailOver       bool           `json:"force_failover"`
	TestFailOver   bool           `json:"test_failover"`
}

// Parameters of how an instance of several nodes is read from, which it keeps.
const (
	replicasKey = "read_replicas"
	maxLagKey   = "max_replica_lag"
)

// reading is how the parameters of an instance have it be read from.
func (o object) reading() (r backend.Reading, err error) {
	for key, put := range map[string]func(int){
		replicasKey: func(n int) { r.Replicas = &n }, maxLagKey: func(n int) { r.MaxLag = n },
	} {
		if o[key] == nil {
			continue
		}
		var n float64 // 1.0 is whole, too
		if err := json.Unmarshal(o[key], &n); err != nil {
			return r, fmt.Errorf("decode parameter %s: %w", key, err)
		}
		put(int(n))
	}
	return r, nil
}

// alone refuses parameters of an instance of several nodes, as Invalid, where the plan has one.
func (p Plan) alone(given object) error {
	if p.Nodes > 1 || p.Engine == "" {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch {
		case platforms[name].nodes < 2:
		case platforms[name].lasts:
			return backstay.Errorf(backstay.Invalid, "The plan has one node, and no replica to read from: leave %s out.", name)
		default:
			return backstay.Errorf(backstay.Invalid, "The plan has one node, and no other one to fail over to: leave "+
				"%s out. {\"reboot\": true} restarts the service instance.", name)
		}
	}
	return nil
}

// returnKey is the parameter that puts the data of an earlier moment in the place of what an instance holds.
const returnKey = "restore_to_point_in_time"

// Overwrites tells whether the parameters of an update put earlier data in the place of what the instance holds.
func Overwrites(given json.RawMessage) bool {
	parameters, err := parse(given)
	_, asked := parameters[returnKey]
	return err == nil && asked
}

// SourceOf returns the instance whose data a new one is to begin with by its parameters; empty: it begins empty.
func SourceOf(given json.RawMessage) (backstay.InstanceID, error) {
	wished, err := parseWishes(given)
	if err != nil {
		return "", err
	}
	o, err := wished.origin()
	if err != nil || o == nil {
		return "", err
	}
	return o.Of, nil
}

// RenameSources returns parameters that name other instances whose data a new one is to begin with. What is no name of
// one stays, and is refused or not as it would have been.
func RenameSources(given json.RawMessage, rename func(backstay.InstanceID) backstay.InstanceID) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(given, &object) != nil {
		return given
	}
	renamed := false
	for _, name := range []string{"restore_from_latest_snapshot_of", "restore_from_point_in_time_of", "clone_of"} {
		var id backstay.InstanceID
		if json.Unmarshal(object[name], &id) != nil || id == "" {
			continue
		}
		encoded, err := json.Marshal(rename(id))
		if err != nil {
			continue // no text fails to be one
		}
		object[name], renamed = encoded, true
	}
	if !renamed {
		return given
	}
	encoded, err := json.Marshal(object)
	if err != nil {
		return given // it was decoded a moment ago
	}
	return encoded
}

// parseWishes reads the platform's parameters out of an object that the rules accept. The error is Invalid.
func parseWishes(given json.RawMessage) (w wishes, err error) {
	if given == nil {
		return w, nil
	}
	err = json.Unmarshal(given, &w)
	switch {
	case err == nil:
		return w, w.noEmptyMoment()
	case backstay.KindOf(err) == backstay.Invalid:
		return w, err
	}
	return w, backstay.Wrapf(err, backstay.Invalid, "Parameters must be a JSON object")
}

// noEmptyMoment refuses an empty text for a time, as Invalid. Who wants the newest data leaves the parameter out.
func (w wishes) noEmptyMoment() error {
	for _, given := range []struct {
		name string
		at   *moment
	}{{"restore_from_latest_snapshot_before", w.SnapshotBefore}, {"restore_from_point_in_time_before", w.MomentBefore},
		{returnKey, w.ReturnTo}} {
		if given.at != nil && given.at.IsZero() {
			return backstay.Errorf(backstay.Invalid, "Parameter %s must not be empty: give a date and a time in UTC, such as "+
				"2018-04-01 00:00:00.", given.name)
		}
	}
	return nil
}

// windows are those that are asked for.
func (w wishes) windows() (asked Windows) {
	if w.Maintenance != nil {
		asked.Maintenance = *w.Maintenance
	}
	if w.Backup != nil {
		asked.Backup = *w.Backup
	}
	return asked
}
