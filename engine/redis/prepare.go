package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

// Check looks at everything that the server would be started with, and whether what a running server holds would find
// room. Redis has no way to try a configuration out.
func (Engine) Check(ctx context.Context, n engine.Node) error {
	p, err := plan(n)
	if err != nil {
		return err
	}
	if err := cmp.Or(p.Check(), engine.TryPorts(ctx, n)); err != nil {
		return err
	}
	return checkData(ctx, n)
}

// Prepare makes n.DataDir, unless that exists, and writes the configuration in it.
func (Engine) Prepare(_ context.Context, n engine.Node) error {
	p, err := plan(n)
	if err != nil {
		return err
	}
	return p.Prepare()
}

func plan(n engine.Node) (datadir.Plan, error) {
	product := productOf(n.Installation)
	called := called(n.Installation)
	if err := cmp.Or(n.CheckPorts(), checkLink(n.Replication)); err != nil {
		return datadir.Plan{}, err
	}
	mark, err := readMark(n.DataDir)
	if err != nil {
		return datadir.Plan{}, datadir.Blame(called, err)
	}
	text, err := config(n, mark != "")
	if err != nil {
		return datadir.Plan{}, datadir.Blame(called, err)
	}
	files := map[string]string{configFile: text, versionFile: n.Installation.Version + "\n"}
	if len(n.Port(engine.ClientPort).Listen) > 0 {
		files[certificateFile], files[keyFile] = n.TLS.Leaf, n.TLS.Key.Reveal()
	}
	addLink(files, n)
	uid, gid := n.Account.IDs()
	return datadir.Plan{
		Product: called, Program: filepath.Join(n.Installation.Dir, product.program),
		Dir: n.DataDir, UID: uid, GID: gid, Files: files, Used: n.Used,
		Fits: func() error { return fits(n) },
		Make: func(part string) error {
			if n.Replication != nil && n.Replication.Follows != nil {
				return errNotCopied
			}
			return makeData(part, uid, gid)
		},
	}, nil
}

// errNotCopied says that a node that follows has no data. It is for Copy to make.
var errNotCopied error = backstay.Errorf(backstay.Unavailable, "The data of the node that follows is missing.")

// called returns the name by which users know an installation: "Redis 7.0".
func called(i engine.Installation) string { return productOf(i).name + " " + i.Version }

// makeData makes a data directory that holds nothing but the operator and its secret.
func makeData(part string, uid, gid int) error {
	if err := os.Mkdir(part, 0o700); err != nil {
		return err
	}
	secret := rand.Text()
	files := map[string]string{secretFile: secret, usersFile: firstUsers(secret)}
	if err := datadir.Fill(part, uid, gid, files); err != nil {
		return err
	}
	return os.Chown(part, uid, gid)
}

// readSecret returns the operator's password.
func readSecret(dataDir string) (backstay.Secret, error) {
	root, err := os.OpenRoot(dataDir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	text, err := root.ReadFile(secretFile)
	return backstay.Secret(strings.TrimSpace(string(text))), err
}
