package mysql

import (
	"cmp"
	"context"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

// Check has the server read the configuration, and looks at the data that is there.
func (e Engine) Check(ctx context.Context, n engine.Node) error {
	p, err := e.plan(ctx, n)
	if err != nil {
		return err
	}
	if err := cmp.Or(p.Check(), engine.TryPorts(ctx, n)); err != nil {
		return err
	}
	return trial(n, p).Run(ctx)
}

func trial(n engine.Node, p datadir.Plan) datadir.Trial {
	d := dialectOf(n.Installation)
	return datadir.Trial{
		Product: p.Product, Program: p.Program, Env: environment, UID: p.UID, GID: p.GID,
		Args:    append([]string{"--defaults-file=" + configFile, "--datadir=.", "--tmpdir=."}, d.validate...),
		Files:   map[string]string{configFile: p.Files[configFile]},
		Verdict: func(said string) string { return complaint(d, said) },
	}
}

// complaint returns the first error in what the server said: it may find more, and it may even end with success.
func complaint(d dialect, said string) string {
	for line := range strings.Lines(said) {
		if match := d.logged.FindStringSubmatch(strings.TrimSpace(line)); match != nil && match[2] == "ERROR" {
			_, text, named := strings.Cut(match[3], d.program+": ")
			if !named {
				text = match[3]
			}
			return strings.TrimSpace(text)
		}
	}
	return ""
}

// Prepare clones the golden directory to n.DataDir unless that exists, and writes the configuration in it. A binary log
// that the node is not to have any more goes: what follows will not be in it.
func (e Engine) Prepare(ctx context.Context, n engine.Node) error {
	p, err := e.plan(ctx, n)
	if err != nil {
		return err
	}
	if err := p.Prepare(); err != nil || logs(n) {
		return err
	}
	return removeBinlog(n.DataDir)
}

func (e Engine) plan(ctx context.Context, n engine.Node) (datadir.Plan, error) {
	chosen, err := e.parseSettings(n)
	if err != nil {
		return datadir.Plan{}, err
	}
	if err := n.CheckPorts(); err != nil {
		return datadir.Plan{}, err
	}
	if n.Replication != nil && dialectOf(n.Installation).product != mariadb.product {
		return datadir.Plan{}, backstay.Errorf(backstay.Unsupported,
			"%s is offered with a single node only: it cannot be copied while it serves.", called(n.Installation))
	}
	files, err := configFiles(n, chosen)
	if err != nil {
		return datadir.Plan{}, datadir.Blame(called(n.Installation), err)
	}
	uid, gid := n.Account.IDs()
	return datadir.Plan{
		Product: called(n.Installation), Program: filepath.Join(n.Installation.Dir, dialectOf(n.Installation).program),
		Dir: n.DataDir, UID: uid, GID: gid, Files: files, Used: n.Used,
		Fits: func() error { return fits(n) },
		Make: func(part string) error {
			if follows(n) {
				return backstay.Errorf(backstay.Unavailable, "The data of a node that follows is missing: it is a copy.")
			}
			g, err := e.golden(ctx, n.Installation, n.CacheDir)
			if err != nil {
				return err
			}
			return g.Clone(ctx, part, uid, gid)
		},
	}, nil
}

// fits refuses data that another version made. The server would not read it, or would change it so that the other
// version cannot read it any more.
func fits(n engine.Node) error {
	d := dialectOf(n.Installation)
	made, err := d.madeBy(n.DataDir)
	if err != nil {
		return err
	}
	if made != n.Installation.Version {
		return backstay.Errorf(backstay.Unsupported,
			"The data was made by %s %s and cannot be served by %s.", d.product, made, called(n.Installation))
	}
	return nil
}
