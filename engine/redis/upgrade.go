package redis

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/internal/datadir"
)

// versionFile names the version whose servers serve the data: the server's own files say which one wrote them last,
// which may be long ago.
const versionFile = "made_by_version"

// MadeBy reads what Prepare has noted. Data that is older than such notes does not tell.
func (Engine) MadeBy(n engine.Node) (version string, err error) {
	root, err := os.OpenRoot(n.DataDir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	noted, err := readStart(root, versionFile, 64)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(noted)), err
}

// CheckUpgrade looks at what the server has written: a newer one reads that.
func (e Engine) CheckUpgrade(ctx context.Context, from, to engine.Node) error {
	if err := e.reads(from, to); err != nil {
		return err
	}
	c := conversion(to)
	return blame(c.Try(ctx, func(w *datadir.Workshop) error {
		return clone.Room(from.DataDir, w.Dir)
	}))
}

// reads refuses data that servers of the node to do not read.
func (e Engine) reads(from, to engine.Node) error {
	made, err := e.MadeBy(from)
	if err != nil {
		return err
	}
	if engine.CompareVersions(to.Installation.Version, made) < 0 {
		return backstay.Errorf(backstay.Unsupported, "The data was made by version %s and cannot be served by %s.",
			made, called(to.Installation))
	}
	reader := to
	reader.DataDir = from.DataDir
	return fits(reader)
}

// Upgrade copies the data: the new server changes what it reads.
func (e Engine) Upgrade(ctx context.Context, from, to engine.Node, progress func(string)) error {
	if err := e.reads(from, to); err != nil {
		return err
	}
	p, err := plan(to)
	if err != nil {
		return err
	}
	progress("the data is copied.")
	return blame(conversion(to).Make(ctx, func(w *datadir.Workshop) error {
		if err := os.Remove(w.Data); err != nil {
			return err
		}
		if err := w.Copy(w.Data, from.DataDir, p.UID, p.GID); err != nil {
			return err
		}
		return datadir.Fill(w.Data, p.UID, p.GID, p.Files)
	}))
}

func conversion(to engine.Node) datadir.Conversion {
	uid, gid := to.Account.IDs()
	return datadir.Conversion{Dir: to.DataDir, Sockets: to.RunDir + ".up", UID: uid, GID: gid, User: "redis"}
}

func blame(err error) error {
	if err == nil {
		return nil
	}
	return datadir.Blame("The upgrade", err)
}

// Refresh has nothing to do.
func (Engine) Refresh(context.Context, engine.Node) error { return nil }
