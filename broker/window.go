package broker

import (
	"cmp"
	"hash/fnv"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/terms"
)

// windowsOf completes the windows that are kept of an instance. One that is older than windows are has those of its
// offering, or random ones.
func (b *Broker) windowsOf(
	id backstay.InstanceID, service backstay.ServiceID, kept terms.Windows,
) terms.Windows {
	if o := b.Offered.offering(service); o != nil {
		kept.Maintenance = cmp.Or(kept.Maintenance, o.Windows.Maintenance)
		kept.Backup = cmp.Or(kept.Backup, o.Windows.Backup)
	}
	// What was chosen was checked then. If a catalog says otherwise since, they may well overlap.
	complete, _ := kept.Complete(chanceOf(id))
	return complete
}

// chanceOf is the seed of what chance decides about an instance: the same each time that it is asked for.
func chanceOf(id backstay.InstanceID) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}
