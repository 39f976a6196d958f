package mongodb

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/door"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/datadir"
)

// Check has PostgreSQL read the configuration, and looks at the data that is there.
func (e Engine) Check(ctx context.Context, n engine.Node) error {
	p, err := e.plan(ctx, n)
	if err != nil {
		return err
	}
	if err := cmp.Or(p.Check(), engine.TryPorts(ctx, n)); err != nil {
		return err
	}
	files := map[string]string{
		pgserver.ServerFile:    p.Files[pgserver.ServerFile],
		"postgresql.auto.conf": "", // where that is missing, PostgreSQL complains
	}
	return datadir.Trial{
		Product: p.Product, Program: p.Program, Args: []string{"-C", "data_directory", "-D", "."}, Env: pgserver.Environment,
		UID: p.UID, GID: p.GID, Files: files, Verdict: complaint,
	}.Run(ctx)
}

// complained matches a line in which PostgreSQL says what is wrong with a configuration.
var complained = regexp.MustCompile(`(?m)^\S+ \S+ \S+ \[\d+\] (?:ERROR|FATAL):  (.*?)(?: in file ".*)?$`)

// complaint returns the first complaint in what PostgreSQL said. Later ones only say that there was one.
func complaint(said string) string {
	if match := complained.FindStringSubmatch(said); match != nil {
		return match[1]
	}
	return ""
}

// Prepare clones the golden directory to n.DataDir unless that exists, and writes the configuration in it.
func (e Engine) Prepare(ctx context.Context, n engine.Node) error {
	p, err := e.plan(ctx, n)
	if err != nil {
		return err
	}
	return p.Prepare()
}

func (e Engine) plan(ctx context.Context, n engine.Node) (datadir.Plan, error) {
	if err := n.CheckPorts(); err != nil {
		return datadir.Plan{}, err
	}
	files, err := configFiles(n)
	if err != nil {
		return datadir.Plan{}, datadir.Blame(called(n.Installation), err)
	}
	least := map[string]int{
		"max_connections": sessions(n.Size), "max_locks_per_transaction": locksPerTransaction,
	}
	if err := e.server(n.Installation).AddLink(ctx, n, files, least); err != nil {
		return datadir.Plan{}, datadir.Blame(called(n.Installation), err)
	}
	if _, err := exec.LookPath(ferretdb(n.Installation.Dir)); err != nil {
		return datadir.Plan{}, datadir.Blame(called(n.Installation), err)
	}
	if err := door.Reach(e.Front, n.Account); err != nil {
		return datadir.Plan{}, err
	}
	uid, gid := n.Account.IDs()
	return datadir.Plan{
		Product: called(n.Installation), Program: filepath.Join(n.Installation.Dir, "postgres"),
		Dir: n.DataDir, UID: uid, GID: gid, Files: files, Used: n.Used,
		Fits: func() error { return fits(n) },
		Make: func(part string) error {
			if err := pgserver.MakesData(n); err != nil {
				return err
			}
			if err := golden(n.Installation, n.CacheDir).Clone(ctx, part, uid, gid); err != nil {
				return err
			}
			return pgserver.RenewIdentifier(part)
		},
	}, nil
}

// fits refuses data that another version made, of FerretDB or of PostgreSQL.
func fits(n engine.Node) error {
	root, err := os.OpenRoot(n.DataDir) // the server may have put links into it
	if err != nil {
		return err
	}
	defer root.Close()
	made, err := root.ReadFile(versionFile)
	if v := strings.TrimSpace(string(made)); err == nil && v != n.Installation.Version {
		return madeBy(product, v, called(n.Installation))
	}
	made, err = root.ReadFile("PG_VERSION")
	if err != nil {
		return err
	}
	has := serverVersion(n.Installation)
	if v := strings.TrimSpace(string(made)); v != has {
		return madeBy("PostgreSQL", v, "PostgreSQL "+has)
	}
	return nil
}

func madeBy(product, version, now string) error {
	if !isVersion.MatchString(version) {
		version = "of another version"
	}
	return backstay.Errorf(backstay.Unsupported,
		"The data was made by %s %s and cannot be served by %s.", product, version, now)
}

var isVersion = regexp.MustCompile(`^[0-9.]{1,20}$`)
