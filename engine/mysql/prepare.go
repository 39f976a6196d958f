package mysql

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/clone"
)

// Prepare clones the golden directory to n.DataDir unless that exists, and writes the configuration
// in it. DataDir comes into being by a rename, when all that is in it is safe on the disk.
func (e Engine) Prepare(ctx context.Context, n engine.Node) error {
	if err := checkSettings(n); err != nil {
		return err
	}
	// Whether it runs shows when it is run: asking would take longer than all that is left to do here.
	if _, err := exec.LookPath(filepath.Join(n.Installation.Dir, program)); err != nil {
		return cannotPrepare(n.Installation, err)
	}
	files, err := configFiles(n)
	if err != nil {
		return cannotPrepare(n.Installation, err)
	}
	_, err = os.Lstat(n.DataDir)
	switch {
	case err == nil:
		err = reconfigure(n, files)
	case errors.Is(err, fs.ErrNotExist):
		err = create(ctx, n, golden{n.Installation, n.CacheDir}, files)
	}
	if err != nil {
		return cannotPrepare(n.Installation, err)
	}
	return nil
}

func create(ctx context.Context, n engine.Node, g golden, files map[string]string) (err error) {
	part := n.DataDir + ".part"
	if err := os.RemoveAll(part); err != nil { // from a Prepare that was killed
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part)) // a full disk is not left fuller
		}
	}()
	if err := cloneGolden(ctx, n, g, part); err != nil {
		return err
	}
	if _, err := writeFiles(n, part, files); err != nil {
		return err
	}
	if err := clone.Sync(part); err != nil {
		return err
	}
	if err := os.Rename(part, n.DataDir); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(n.DataDir))
}

func cloneGolden(ctx context.Context, n engine.Node, g golden, to string) (err error) {
	release, err := g.acquire(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	uid, gid := ids(n.Account)
	return clone.Copy(to, g.path(), uid, gid)
}

// ids are the node's account as chown takes it: -1 changes nothing.
func ids(a *engine.Account) (uid, gid int) {
	if a == nil {
		return -1, -1
	}
	return int(a.UID), int(a.GID)
}

// reconfigure lets the configuration follow the node. Data made by another version is refused: the
// server would not read it, or change it beyond the way back.
func reconfigure(n engine.Node, files map[string]string) error {
	made, err := os.ReadFile(filepath.Join(n.DataDir, versionFile))
	if err != nil {
		return err
	}
	full, _, _ := strings.Cut(string(made), "-")
	if v := minor(full); v != n.Installation.Version {
		return backstay.Errorf(backstay.Unavailable, "The data was made by MariaDB %s and cannot be served by MariaDB %s.", v, n.Installation.Version)
	}
	changed, err := writeFiles(n, n.DataDir, files)
	if err != nil || !changed {
		return err
	}
	return atomicfile.SyncDir(n.DataDir)
}

// writeFiles makes the files in dir be what they should, each atomically. The directory may belong to
// a server that was broken into, so nothing that lies in it is followed out of it.
func writeFiles(n engine.Node, dir string, files map[string]string) (changed bool, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if is, err := root.ReadFile(name); err == nil && string(is) == files[name] {
			continue
		}
		if err := replaceFile(n, root, name, files[name]); err != nil {
			return changed, fmt.Errorf("write %s: %w", name, err)
		}
		changed = true
	}
	return changed, nil
}

func replaceFile(n engine.Node, root *os.Root, name, content string) error {
	part := name + ".part"
	if err := root.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if err == nil && n.Account != nil {
		err = f.Chown(ids(n.Account))
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return root.Rename(part, name)
}
