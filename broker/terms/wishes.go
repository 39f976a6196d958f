package terms

import (
	"encoding/json"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/window"
)

// platformParameter is a parameter that the platform fulfils, whatever the engine is.
type platformParameter struct {
	create bool // of a new instance too
	schema Rules
}

// platforms are the platform's parameters. Their names are those that users of the guide's system know.
var platforms = map[string]platformParameter{
	"preferred_maintenance_window": {create: true, schema: Rules{"type": "string", "description": "The half hour or " +
		"more of each week, in UTC, in which the service instance may be restarted, such as tue:04:00-tue:04:30."}},
	"preferred_backup_window": {create: true, schema: Rules{"type": "string", "description": "The half hour or more of " +
		"each day, in UTC, in which the service instance is backed up if its plan has backups, such as 02:00-02:30."}},
	"apply_at_maintenance_window": {schema: Rules{"type": "boolean", "description": "Whether what else is asked for " +
		"waits for the maintenance window. Alone, false withdraws what waits."}},
	"update_minor_version_to_latest": {schema: Rules{"type": "boolean", "description": "Whether the service instance " +
		"goes to the newest minor version that is installed."}},
	"roll_back_upgrade": {schema: Rules{"type": "boolean", "description": "With a plan of the earlier version: whether " +
		"the service instance returns to the data from before its last upgrade, for as long as that is kept. What was " +
		"written since the upgrade is lost."}},
	"reboot": {schema: Rules{"type": "boolean", "description": "Whether the service instance is restarted."}},
}

// wishes are what users ask of the platform.
type wishes struct {
	Maintenance *window.Weekly `json:"preferred_maintenance_window"`
	Backup      *window.Daily  `json:"preferred_backup_window"`
	AtWindow    *bool          `json:"apply_at_maintenance_window"`
	Minor       bool           `json:"update_minor_version_to_latest"`
	RollBack    bool           `json:"roll_back_upgrade"`
	Reboot      bool           `json:"reboot"`
}

// returnKey is the parameter that puts the data of an earlier moment in the place of what an instance holds.
const returnKey = "restore_to_point_in_time"

// Overwrites tells whether the parameters of an update put earlier data in the place of what the instance holds.
func Overwrites(given json.RawMessage) bool {
	parameters, err := parse(given)
	_, asked := parameters[returnKey]
	return err == nil && asked
}

// parseWishes reads the platform's parameters out of an object that the rules accept. The error is Invalid.
func parseWishes(given json.RawMessage) (w wishes, err error) {
	if given == nil {
		return w, nil
	}
	err = json.Unmarshal(given, &w)
	if err == nil || backstay.KindOf(err) == backstay.Invalid {
		return w, err
	}
	return w, backstay.Wrapf(err, backstay.Invalid, "Parameters must be a JSON object")
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
