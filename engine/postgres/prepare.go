package postgres

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/pgserver"
	"github.com/backstay/backstay/internal/datadir"
)

// Check has PostgreSQL read the configuration, looks at the data that is there, and asks a node that runs what depends
// on extensions that are to go.
func (Engine) Check(ctx context.Context, n engine.Node) error {
	p, err := plan(ctx, n)
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
	err = datadir.Trial{
		Product: p.Product, Program: p.Program, Args: []string{"-C", "data_directory", "-D", "."}, Env: pgserver.Environment,
		UID: p.UID, GID: p.GID, Files: files, Verdict: complaint,
	}.Run(ctx)
	if err != nil {
		return err
	}
	chosen, err := parseSettings(n)
	if err != nil {
		return err
	}
	return checkDisabled(ctx, n, chosen.DisableExtensions)
}

// complained matches a line in which PostgreSQL says what is wrong with a configuration.
var complained = regexp.MustCompile(`(?m)^\S+ \S+ \S+ \[\d+\] (?:LOG|ERROR|FATAL):  (.*?)(?: in file ".*)?$`)

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
	if err := n.CheckPorts(); err != nil {
		return datadir.Plan{}, err
	}
	chosen, err := parseSettings(n)
	if err != nil {
		return datadir.Plan{}, err
	}
	files, err := configFiles(n, chosen)
	if err != nil {
		return datadir.Plan{}, datadir.Blame(product(n.Installation), err)
	}
	least := map[string]int{"max_connections": n.Size.Connections + reserve,
		"max_locks_per_transaction": locksPerTransaction(n.Size)}
	if err := server(n.Installation).AddLink(ctx, n, files, least); err != nil {
		return datadir.Plan{}, datadir.Blame(product(n.Installation), err)
	}
	uid, gid := n.Account.IDs()
	return datadir.Plan{
		Product: product(n.Installation), Program: filepath.Join(n.Installation.Dir, "postgres"),
		Dir: n.DataDir, UID: uid, GID: gid, Files: files, Used: n.Used,
		Fits: func() error { return fits(n) },
		Make: func(part string) error {
			if err := pgserver.MakesData(n); err != nil {
				return err
			}
			if err := golden(n.Installation, n.CacheDir, chosen.locale).Clone(ctx, part, uid, gid); err != nil {
				return err
			}
			return pgserver.RenewIdentifier(part)
		},
	}, nil
}

// fits refuses data that another major version made: PostgreSQL could not read it.
func fits(n engine.Node) error {
	made, err := os.ReadFile(filepath.Join(n.DataDir, "PG_VERSION"))
	if err != nil {
		return err
	}
	if v := strings.TrimSpace(string(made)); v != n.Installation.Version {
		return backstay.Errorf(backstay.Unsupported,
			"The data was made by PostgreSQL %s and cannot be served by PostgreSQL %s.", v, n.Installation.Version)
	}
	return nil
}
