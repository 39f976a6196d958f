package opensearch

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/opensearch/front"
)

// Reload writes the configuration, and gives the server what users chose of its settings. The front reads its own, and
// the certificate, whenever somebody connects; the server reads nothing again. What a clone has left goes: it is called
// when a keeper that was killed is back, with all that it did.
func (e Engine) Reload(ctx context.Context, n engine.Node) (restart bool, err error) {
	p, err := e.plan(n)
	if err != nil {
		return false, err
	}
	if err := p.Reconfigure(); err != nil {
		return false, err
	}
	err = withAdmin(ctx, n, func(c *client) error {
		if err := configureCluster(ctx, c, n); err != nil {
			return err
		}
		return sweep(ctx, c, n)
	})
	if err != nil {
		return false, err
	}
	return outdated(n, p.Files)
}

// outdated tells whether a running node is to have other files than those with which it was started, of which it keeps
// copies.
func outdated(n engine.Node, files map[string]string) (bool, error) {
	root, err := os.OpenRoot(n.RunDir) // the server may have put links into it
	if err != nil {
		return false, err
	}
	defer root.Close()
	for _, name := range []string{serverFile, javaFile} {
		name = filepath.Join(configDir, name)
		has, err := root.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if string(has) != files[name] {
			return true, nil
		}
	}
	text, err := root.ReadFile(frontFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	var has front.Config
	if err := json.Unmarshal(text, &has); err != nil {
		return true, nil
	}
	return !slices.Equal(has.Listen, frontConfig(n).Listen), nil
}
