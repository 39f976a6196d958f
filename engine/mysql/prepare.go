package mysql

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

// Prepare clones the golden directory to n.DataDir unless that exists, and writes the configuration
// in it. DataDir comes into being by a rename, when all that is in it is safe on the disk.
func (e Engine) Prepare(ctx context.Context, n engine.Node) error {
	if err := checkSettings(n); err != nil {
		return err
	}
	// Whether it runs shows when it is run: asking would take longer than all that is left to do here.
	if _, err := exec.LookPath(filepath.Join(n.Installation.Dir, program)); err != nil {
		return datadir.Blame(product(n.Installation), err)
	}
	files, err := configFiles(n)
	if err != nil {
		return datadir.Blame(product(n.Installation), err)
	}
	_, err = os.Lstat(n.DataDir)
	switch {
	case err == nil:
		err = reconfigure(n, files)
	case errors.Is(err, fs.ErrNotExist):
		err = create(ctx, n, files)
	}
	if err != nil {
		return datadir.Blame(product(n.Installation), err)
	}
	return nil
}

func create(ctx context.Context, n engine.Node, files map[string]string) error {
	uid, gid := n.Account.IDs()
	return datadir.Create(n.DataDir, func(part string) error {
		if err := golden(n.Installation, n.CacheDir).Clone(ctx, part, uid, gid); err != nil {
			return err
		}
		return datadir.Fill(part, uid, gid, files)
	})
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
	uid, gid := n.Account.IDs()
	return datadir.WriteFiles(n.DataDir, uid, gid, files)
}
