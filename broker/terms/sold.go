package terms

import (
	"maps"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// combination refuses, as Invalid, wishes that do not go together.
func combination(c Change, w wishes, given object) error {
	refuse := func(format string, args ...any) error { return backstay.Errorf(backstay.Invalid, format, args...) }
	sets := given.sets()
	switch {
	case (w.ReturnTo != nil || w.BackUp != "") && (c.Plan != nil || c.Upgrade || len(given) > 1):
		return refuse("A backup, and a return to an earlier moment, go alone: ask for the rest when that has ended.")
	case w.RollBack && c.Plan == nil:
		return refuse("roll_back_upgrade needs the plan to return to: give one of the version before the upgrade, with -p. " +
			"What was written since the upgrade is lost.")
	case w.FailOver && !w.Reboot:
		return refuse("force_failover goes with reboot: give {\"reboot\": true, \"force_failover\": true}.")
	case w.TestFailOver && (c.Plan != nil || c.Upgrade || len(given) > 1):
		return refuse("test_failover goes alone: ask for the rest when that has ended.")
	case w.Reboot && c.Plan != nil:
		return refuse("A new plan and reboot do not go together: a plan change restarts the service instance where it " +
			"must. Leave reboot out, or ask for it when the plan has changed.")
	case w.Reboot && (w.Minor || c.Upgrade):
		return refuse("An upgrade and reboot do not go together: the upgrade restarts the service instance. " +
			"Leave reboot out.")
	case w.Minor && c.Plan != nil:
		return refuse("A new plan and update_minor_version_to_latest do not go together: change the plan, and ask for " +
			"the newest minor version when that has ended.")
	case len(sets) > 0 && c.Plan != nil:
		return refuse("A new plan and %s do not go together: change the plan, and ask for the rest when that has ended.",
			strings.Join(sets, " and "))
	case w.AtWindow != nil && *w.AtWindow && c.Plan == nil && !c.Upgrade && len(given.without(scheduling...)) == 0:
		return refuse("There is nothing that apply_at_maintenance_window could apply: give a new plan with -p, or further " +
			"parameters. preferred_maintenance_window alone moves the window.")
	}
	return nil
}

// sets names the parameters that enable or disable something.
func (o object) sets() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if counterpart(name) != "" {
			names = append(names, name)
		}
	}
	return names
}

// leave refuses, as Unsupported, a change from the plan to another one that is not sold.
func (p Plan) leave(before Accepted, to Plan, w wishes) error {
	refuse := func(format string, args ...any) error { return backstay.Errorf(backstay.Unsupported, format, args...) }
	const copyInstead = "create a new service instance of that plan, and copy the data."
	was, storage := before.Spec, before.Spec.Size.Storage
	switch {
	case p.Engine != "" && !p.Changeable || !to.Changeable:
		return refuse("The service does not support changing plans.")
	case to.Engine != was.Engine:
		return refuse("A plan change keeps the engine: this service instance is of %s, and plan %s is of %s. Instead, %s",
			was.Engine, to.Name, to.Engine, copyInstead)
	case w.RollBack && to.Version == was.Version:
		return refuse("There is no upgrade to roll back with plan %s: this service instance has its version, %s, already. "+
			"Choose a plan of the version before the upgrade.", to.Name, was.Version)
	case !w.RollBack && engine.CompareVersions(to.Version, was.Version) < 0:
		return refuse("A version never goes down: this service instance has version %s, and plan %s has version %s. "+
			"Choose a plan of version %s or newer, or %s If the service instance was upgraded within a week, "+
			"{\"roll_back_upgrade\": true} returns to the data from before.",
			was.Version, to.Name, to.Version, was.Version, copyInstead)
	case to.Size.Storage < storage:
		return refuse("Storage never shrinks: this service instance has %s, and plan %s has %s. Choose a plan with %s or "+
			"more, or %s", storage, to.Name, to.Size.Storage, storage, copyInstead)
	case to.Encrypted != was.Volume.Encrypted:
		return refuse("Once a service instance is created, encryption at rest cannot be enabled or disabled, which plan %s "+
			"would do. Instead, %s", to.Name, copyInstead)
	}
	return nil
}
