package keeper

import (
	"fmt"
	"net"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// admit refuses a new instance for which this machine has no port or no room. k.mu is held.
func (k *Keeper) admit(s backend.Spec) error {
	if s.Private { // our own: without it nobody could delete anything
		return nil
	}
	if _, err := k.freePort(); err != nil {
		return err
	}
	return k.checkRoom()
}

func (k *Keeper) checkRoom() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(k.DataDir, &fs); err != nil {
		return fmt.Errorf("measure free space: %w", err)
	}
	free := backstay.Bytes(int64(fs.Bavail) * fs.Bsize)
	if free < k.MinFree {
		return backstay.Errorf(backstay.Unavailable, "The disk is nearly full: %d MB are free, and a new service must leave %d MB. Delete services, or ask the operator for more room.",
			free/backstay.MB, k.MinFree/backstay.MB)
	}
	return nil
}

func (k *Keeper) newRecord(spec backend.Spec) (r record, err error) {
	r.Spec = spec
	if !spec.Private {
		if r.Port, err = k.freePort(); err != nil {
			return r, err
		}
	}
	if isRoot() {
		taken := map[uint32]bool{}
		for _, s := range k.supervisors {
			taken[s.current().UID] = true
		}
		r.UID = newUID(spec.Instance, taken)
	}
	return r, nil
}

// freePort is the lowest that no instance holds and that can be bound now. One that has a directory
// belongs to an instance whose record cannot be read. k.mu is held.
func (k *Keeper) freePort() (int, error) {
	held := map[int]bool{}
	for _, s := range k.supervisors {
		held[s.current().Port] = true
	}
	for port := k.Ports.First; port <= k.Ports.Last; port++ {
		if !held[port] && !exists(k.portDir(port)) && k.bindable(port) {
			return port, nil
		}
	}
	return 0, backstay.Errorf(backstay.Unavailable, "No free port is left in the range %s. Delete services, or ask the operator for a larger range.", k.Ports)
}

func (k *Keeper) bindable(port int) bool {
	for _, address := range k.Listen {
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}
