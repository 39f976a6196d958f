package opensearch

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/door"
	"github.com/backstay/backstay/engine/opensearch/front"
	"github.com/backstay/backstay/internal/datadir"
	"github.com/backstay/backstay/pki"
)

// Check looks at everything that the server would be started with. To have the server look takes as long as a start.
func (e Engine) Check(ctx context.Context, n engine.Node) error {
	p, err := e.plan(n)
	if err != nil {
		return err
	}
	return cmp.Or(p.Check(), engine.TryPorts(ctx, n))
}

// Prepare makes n.DataDir, unless that exists, and writes the configuration in it.
func (e Engine) Prepare(_ context.Context, n engine.Node) error {
	p, err := e.plan(n)
	if err != nil {
		return err
	}
	return p.Prepare()
}

func (e Engine) plan(n engine.Node) (datadir.Plan, error) {
	called := product + " " + n.Installation.Version
	if err := n.CheckPorts(); err != nil {
		return datadir.Plan{}, err
	}
	chosen, err := tune(n)
	if err != nil {
		return datadir.Plan{}, err
	}
	files, err := configFiles(n, chosen)
	if err != nil {
		return datadir.Plan{}, datadir.Blame(called, err)
	}
	if err := door.Reach(e.Front, n.Account); err != nil {
		return datadir.Plan{}, err
	}
	uid, gid := n.Account.IDs()
	return datadir.Plan{
		Product: called, Program: filepath.Join(n.Installation.Dir, "bin", "opensearch"),
		Dir: n.DataDir, UID: uid, GID: gid, Files: files, Used: n.Used,
		Fits: func() error { return fits(n) },
		Make: func(part string) error { return makeData(part, uid, gid) },
	}, nil
}

// makeData makes a data directory in which nothing is kept yet, and what the operator and the node prove themselves by.
func makeData(part string, uid, gid int) error {
	now := time.Now()
	admin, err := pki.NewLink(operator, now)
	if err != nil {
		return err
	}
	node, err := pki.NewLink(nodeName, now)
	if err != nil {
		return err
	}
	for _, dir := range []string{"", configDir, filepath.Join(configDir, securityDir), storeDir} {
		path := filepath.Join(part, dir)
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if err := os.Chown(path, uid, gid); err != nil {
			return err
		}
	}
	return datadir.Fill(part, uid, gid, map[string]string{
		operatorFile: admin.Leaf + admin.Key.Reveal(),
		nodeCAFile:   node.Authority,

		filepath.Join(configDir, front.LeafFile): node.Leaf,
		filepath.Join(configDir, front.KeyFile):  node.Key.Reveal(),
		filepath.Join(configDir, authorityFile):  node.Authority,
		filepath.Join(configDir, operatorCAFile): admin.Authority,
	})
}

// fits refuses data that a newer version has served, or one of another kind.
func fits(n engine.Node) error {
	root, err := os.OpenRoot(n.DataDir) // the server may have put links into it
	if err != nil {
		return err
	}
	defer root.Close()
	text, err := root.ReadFile(versionFile)
	if err != nil {
		return err
	}
	return readable(strings.TrimSpace(string(text)), n.Installation)
}

// readable refuses what a version has made that the installation does not read.
func readable(made string, i engine.Installation) error {
	if !isVersion.MatchString(made) {
		made = "of another version"
	}
	major, _, _ := strings.Cut(made, ".")
	if major != i.Version || engine.CompareVersions(made, i.FullVersion) > 0 {
		return backstay.Errorf(backstay.Unsupported, "The data was made by %s %s and cannot be served by %s %s.",
			product, made, product, i.FullVersion)
	}
	return nil
}

var isVersion = regexp.MustCompile(`^[0-9.]{1,20}$`)
