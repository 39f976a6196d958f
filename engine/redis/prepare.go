package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/datadir"
)

// Prepare makes n.DataDir, unless that exists, and writes the configuration in it. DataDir comes into
// being by a rename, when all that is in it is safe on the disk.
func (Engine) Prepare(_ context.Context, n engine.Node) error {
	text, err := config(n)
	if err == nil {
		_, err = exec.LookPath(filepath.Join(n.Installation.Dir, productOf(n.Installation).program))
	}
	if err == nil {
		err = prepare(n, text)
	}
	if err != nil {
		return datadir.Blame(productOf(n.Installation).name+" "+n.Installation.Version, err)
	}
	return nil
}

func prepare(n engine.Node, config string) error {
	files := map[string]string{configFile: config}
	if len(n.Listen) > 0 {
		files[certificateFile], files[keyFile] = n.TLS.Leaf, n.TLS.Key.Reveal()
	}
	_, err := os.Lstat(n.DataDir)
	switch {
	case err == nil:
		uid, gid := n.Account.IDs()
		return datadir.WriteFiles(n.DataDir, uid, gid, files)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	secret := rand.Text()
	files[secretFile] = secret
	files[usersFile] = firstUsers(secret)
	return create(n, files)
}

func create(n engine.Node, files map[string]string) error {
	uid, gid := n.Account.IDs()
	return datadir.Create(n.DataDir, func(part string) error {
		if err := os.Mkdir(part, 0o700); err != nil {
			return err
		}
		if err := datadir.Fill(part, uid, gid, files); err != nil {
			return err
		}
		return os.Chown(part, uid, gid)
	})
}

// readSecret reads what operator proves itself with.
func readSecret(n engine.Node) (string, error) {
	root, err := os.OpenRoot(n.DataDir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	text, err := root.ReadFile(secretFile)
	return strings.TrimSpace(string(text)), err
}
