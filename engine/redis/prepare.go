package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/clone"
)

// Prepare makes n.DataDir, unless that exists, and writes the configuration in it. DataDir comes into
// being by a rename, when all that is in it is safe on the disk.
func (Engine) Prepare(_ context.Context, n engine.Node) error {
	text, err := config(n)
	if backstay.KindOf(err) == backstay.Invalid {
		return err
	}
	if err == nil {
		_, err = exec.LookPath(filepath.Join(n.Installation.Dir, program))
	}
	if err == nil {
		err = prepare(n, text)
	}
	if err != nil {
		return backstay.Wrapf(err, backstay.Unavailable, "Redis %s cannot be set up: %s.", n.Installation.Version, reason(n, err))
	}
	return nil
}

// reason is what a user may know of err.
func reason(n engine.Node, err error) string {
	var notRunnable *exec.Error
	var errno syscall.Errno
	switch {
	case errors.As(err, &notRunnable):
		return filepath.Join(n.Installation.Dir, program) + " does not run"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "no space is left on the disk"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return "an unexpected failure, which the keeper's log explains"
}

func prepare(n engine.Node, config string) error {
	files := map[string]string{configFile: config}
	if len(n.Listen) > 0 {
		files[certificateFile], files[keyFile] = n.TLS.Leaf, n.TLS.Key.Reveal()
	}
	_, err := os.Lstat(n.DataDir)
	switch {
	case err == nil:
		return writeFiles(n, n.DataDir, files)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	secret := rand.Text()
	files[secretFile] = secret
	files[usersFile] = firstUsers(secret)
	return create(n, files)
}

func create(n engine.Node, files map[string]string) (err error) {
	part := n.DataDir + ".part"
	if err := os.RemoveAll(part); err != nil { // from a Prepare that was killed
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part)) // a full disk is not left fuller
		}
	}()
	if err := os.Mkdir(part, 0o700); err != nil {
		return err
	}
	if err := writeFiles(n, part, files); err != nil {
		return err
	}
	if n.Account != nil {
		if err := os.Chown(part, int(n.Account.UID), int(n.Account.GID)); err != nil {
			return err
		}
	}
	if err := clone.Sync(part); err != nil {
		return err
	}
	if err := os.Rename(part, n.DataDir); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(n.DataDir))
}

// writeFiles makes the files in dir be what they should, each atomically. The directory may belong to
// a server that was broken into, so nothing that lies in it is followed out of it.
func writeFiles(n engine.Node, dir string, files map[string]string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := replaceFile(n, root, name, files[name]); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return atomicfile.SyncDir(dir)
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
		err = f.Chown(int(n.Account.UID), int(n.Account.GID))
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return root.Rename(part, name)
}

// readSecret reads what operator proves itself with.
func readSecret(n engine.Node) (string, error) {
	root, err := os.OpenRoot(n.DataDir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	text, err := root.ReadFile(secretFile)
	return strings.TrimSpace(string(text)), err
}
