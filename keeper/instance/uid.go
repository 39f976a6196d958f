package instance

import (
	"hash/fnv"

	"github.com/backstay/backstay"
)

// Users of our own making are taken from a range that no distribution and no container runtime uses
// (systemd, "Users, Groups, UIDs and GIDs on systemd Systems").
const (
	firstUID = 1879048192
	lastUID  = 2147483000
)

// NewUID derives an instance's user from its id, past those that are taken.
func NewUID(id backstay.InstanceID, taken map[uint32]bool) uint32 {
	h := fnv.New32a()
	h.Write([]byte(id))
	uid := firstUID + h.Sum32()%(lastUID-firstUID)
	for taken[uid] {
		if uid++; uid > lastUID {
			uid = firstUID
		}
	}
	return uid
}

// isOurUID tells whether a user is of our own making.
func isOurUID(uid uint32) bool { return uid >= firstUID && uid <= lastUID }
