package keeper

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/cgroup"
	"github.com/backstay/backstay/keeper/instance"
)

// GroupsName is the name of the groups of a data directory's instances, each of which has its instance's id.
func GroupsName(dataDir string) string {
	sum := sha256.Sum256([]byte(dataDir))
	return hex.EncodeToString(sum[:6])
}

// groups are those of this data directory, or nil where nothing can be limited, which the log then says.
func (c Config) groups() *cgroup.Groups {
	if c.NoLimits {
		return nil
	}
	g, err := cgroup.Open(GroupsName(c.DataDir))
	if err != nil {
		c.Log.Warn("no instance is kept to its plan's memory and processor", "error", err)
	}
	return g
}

// boundBackground makes the group of what nobody waits for.
func (k *Keeper) boundBackground() {
	if err := k.machine.Groups.Set(instance.BackgroundGroup, cgroup.Background()); err != nil {
		k.Log.Warn("what is done in the background takes what it can get of the processor", "error", err)
	}
}

// leaveBackground removes that group, unless something in it has not ended yet: the next keeper finds it then.
func (k *Keeper) leaveBackground() { _ = k.machine.Groups.Remove(instance.BackgroundGroup) }

// sweepGroups removes the groups of instances of which nothing is left.
func (k *Keeper) sweepGroups() {
	found, err := k.machine.Groups.Found()
	for _, id := range found {
		if id != instance.BackgroundGroup && !k.machine.Records.Has(instance.OfHome(backstay.InstanceID(id))) {
			if err = k.machine.Groups.Remove(id); err != nil {
				break
			}
		}
	}
	if err != nil {
		k.Log.Warn("groups of instances that are gone are left", "error", err)
	}
}
