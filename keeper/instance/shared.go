package instance

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// sharedDir is where the memory has names that processes of this machine share.
const sharedDir = "/dev/shm"

// removeShared removes what processes of an instance's user, which have all ended, have left in shared memory: a server
// that was killed gives its own back when it is started again, which a removed one never is. Of the keeper's own user
// nothing is removed, since it is not only one instance's.
func removeShared(uid uint32) error {
	if !isOurUID(uid) {
		return nil
	}
	entries, err := os.ReadDir(sharedDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		info, gone := e.Info()
		if gone != nil || !info.Mode().IsRegular() || info.Sys().(*syscall.Stat_t).Uid != uid {
			continue
		}
		if failure := os.Remove(filepath.Join(sharedDir, e.Name())); failure != nil && !errors.Is(failure, fs.ErrNotExist) {
			err = errors.Join(err, failure)
		}
	}
	return err
}
