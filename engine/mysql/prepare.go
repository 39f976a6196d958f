package mysql

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

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
	if _, err := exec.LookPath(filepath.Join(n.Installation.Dir, dialectOf(n.Installation).program)); err != nil {
		return datadir.Blame(called(n.Installation), err)
	}
	files, err := configFiles(n)
	if err != nil {
		return datadir.Blame(called(n.Installation), err)
	}
	_, err = os.Lstat(n.DataDir)
	switch {
	case err == nil:
		err = reconfigure(n, files)
	case errors.Is(err, fs.ErrNotExist):
		err = create(ctx, n, files)
	}
	if err != nil {
		return datadir.Blame(called(n.Installation), err)
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
	made, err := dialectOf(n.Installation).madeBy(n.DataDir)
	if err != nil {
		return err
	}
	if made != n.Installation.Version {
		what := dialectOf(n.Installation).product
		return backstay.Errorf(backstay.Unavailable, "The data was made by %s %s and cannot be served by %s.", what, made, called(n.Installation))
	}
	uid, gid := n.Account.IDs()
	return datadir.WriteFiles(n.DataDir, uid, gid, files)
}
