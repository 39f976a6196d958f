package mysql

import (
	"context"
	"path/filepath"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

// Check renders the configuration and looks at the data that is there.
func (Engine) Check(ctx context.Context, n engine.Node) error {
	p, err := plan(ctx, n)
	if err != nil {
		return err
	}
	return p.Check()
}

// Prepare clones the golden directory to n.DataDir unless that exists, and writes the configuration in it.
func (Engine) Prepare(ctx context.Context, n engine.Node) error {
	p, err := plan(ctx, n)
	if err != nil {
		return err
	}
	return p.Prepare()
}

func plan(ctx context.Context, n engine.Node) (datadir.Plan, error) {
	if err := checkSettings(n); err != nil {
		return datadir.Plan{}, err
	}
	files, err := configFiles(n)
	if err != nil {
		return datadir.Plan{}, datadir.Blame(called(n.Installation), err)
	}
	uid, gid := n.Account.IDs()
	return datadir.Plan{
		Product: called(n.Installation), Program: filepath.Join(n.Installation.Dir, dialectOf(n.Installation).program),
		Dir: n.DataDir, UID: uid, GID: gid, Files: files,
		Fits: func() error { return fits(n) },
		Make: func(part string) error { return golden(n.Installation, n.CacheDir).Clone(ctx, part, uid, gid) },
	}, nil
}

// fits refuses data that another version made: the server would not read it, or change it beyond the way back.
func fits(n engine.Node) error {
	d := dialectOf(n.Installation)
	made, err := d.madeBy(n.DataDir)
	if err != nil {
		return err
	}
	if made != n.Installation.Version {
		return backstay.Errorf(backstay.Unavailable, "The data was made by %s %s and cannot be served by %s.", d.product, made, called(n.Installation))
	}
	return nil
}
