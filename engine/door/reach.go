package door

import (
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Reach wants the node's user to be able to run the companion, which is a program of ours: where that lies, an operator
// decides.
func Reach(command []string, a *engine.Account) error {
	if len(command) == 0 || a == nil {
		return nil
	}
	for path := command[0]; ; path = filepath.Dir(path) {
		var s unix.Stat_t
		if err := unix.Stat(path, &s); err != nil {
			return backstay.Wrapf(err, backstay.Unavailable,
				"Backstay's own program %s is not there any more.", command[0])
		}
		may := uint32(0o001)
		switch {
		case s.Uid == a.UID:
			may = 0o100
		case s.Gid == a.GID:
			may = 0o010
		}
		if s.Mode&may == 0 {
			return backstay.Errorf(backstay.Unavailable, "The service instance's own user may not run the program "+
				"%s: an operator has to put it into directories that everybody can enter.", command[0])
		}
		if path == filepath.Dir(path) {
			return nil
		}
	}
}
