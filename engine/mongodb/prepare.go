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
	"github.com/backstay/backstay/internal/datadir"
)

// Check has PostgreSQL read the configuration, and looks at the data that is there.
func (Engine) Check(ctx context.Context, n engine.Node) error {
	p, err := plan(ctx, n)
	if err != nil {
		return err
	}
	if err := cmp.Or(p.Check(), engine.TryPorts(ctx, n)); err != nil {
		return err
	}
	files := map[string]string{
		serverFile: p.Files[serverFile], "postgresql.auto.conf": "", // where that is missing, PostgreSQL complains
	}
	return datadir.Trial{
		Product: p.Product, Program: p.Program, Args: []string{"-C", "data_directory", "-D", "."}, Env: environment,
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
func (Engine) Prepare(ctx context.Context, n engine.Node) error {
	p, err := plan(ctx, n)
	if err != nil {
		return err
	}
	return p.Prepare()
}

func plan(ctx context.Context, n engine.Node) (datadir.Plan, error) {
	if err := cmp.Or(n.CheckPorts(), n.DecodeSettings(product, &struct{}{})); err != nil {
		return datadir.Plan{}, err
	}
	files, err := configFiles(n)
	if err != nil {
		return datadir.Plan{}, datadir.Blame(called(n.Installation), err)
	}
	if _, err := exec.LookPath(ferretdb(n.Installation.Dir)); err != nil {
		return datadir.Plan{}, datadir.Blame(called(n.Installation), err)
	}
	uid, gid := n.Account.IDs()
	return datadir.Plan{
		Product: called(n.Installation), Program: filepath.Join(n.Installation.Dir, "postgres"),
		Dir: n.DataDir, UID: uid, GID: gid, Files: files,
		Fits: func() error { return fits(n) },
		Make: func(part string) error { return golden(n.Installation, n.CacheDir).Clone(ctx, part, uid, gid) },
	}, nil
}

// fits refuses data that another version made, of FerretDB or of PostgreSQL.
func fits(n engine.Node) error {
	if made, err := os.ReadFile(filepath.Join(n.DataDir, versionFile)); err == nil {
		if v := strings.TrimSpace(string(made)); v != n.Installation.Version {
			return backstay.Errorf(backstay.Unsupported, "The data was made by %s %s and cannot be served by %s.", product, v,
				called(n.Installation))
		}
	}
	made, err := os.ReadFile(filepath.Join(n.DataDir, "PG_VERSION"))
	if err != nil {
		return err
	}
	has := filepath.Base(filepath.Dir(n.Installation.Dir))
	if v := strings.TrimSpace(string(made)); v != has {
		return backstay.Errorf(backstay.Unsupported,
			"The data was made by PostgreSQL %s and cannot be served by PostgreSQL %s.", v, has)
	}
	return nil
}
