package mysql

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/datadir"
)

// Fence lays the file with which the configuration ends. Where there is no data, nobody can start a server with it.
func (Engine) Fence(n engine.Node) error {
	if _, err := os.Lstat(n.DataDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	uid, gid := n.Account.IDs()
	err := datadir.WriteFiles(n.DataDir, uid, gid, map[string]string{fenceFile: fenceOf(n)})
	if err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	return atomicfile.SyncDir(n.DataDir)
}

// IsFenced looks for the fence.
func (Engine) IsFenced(n engine.Node) (bool, error) { return isFenced(n.DataDir) }

// isFenced tells whether a server with that data would take no writes.
func isFenced(dataDir string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dataDir, fenceFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// unfence removes the fence.
func unfence(dataDir string) error {
	root, err := os.OpenRoot(dataDir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Remove(fenceFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return atomicfile.SyncDir(dataDir)
}
