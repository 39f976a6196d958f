package opensearch

import (
	"context"
	"net/http"

	"github.com/backstay/backstay/engine"
)

// Configure gives the roles of bindings the rights that this version of ours knows, and the server what it takes from
// nobody but a client.
func (Engine) Configure(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(c *client) error {
		if err := configureRoles(ctx, c); err != nil {
			return err
		}
		return configureCluster(ctx, c)
	})
}

// patch is a change of something that the security plugin keeps.
type patch struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value role   `json:"value"`
}

func configureRoles(ctx context.Context, c *client) error {
	var has map[string]role
	if err := c.ask(ctx, http.MethodGet, security+"roles", nil, &has); err != nil {
		return err
	}
	var changes []patch
	for name, want := range roles {
		if !want.equals(has[name]) {
			changes = append(changes, patch{"add", "/" + name, want})
		}
	}
	if len(changes) == 0 {
		return nil
	}
	return c.ask(ctx, http.MethodPatch, security+"roles", changes, nil)
}

// replicas says how many copies an index has of which nobody has said it. There is one node: they could be nowhere.
const replicas = "cluster.default_number_of_replicas"

func configureCluster(ctx context.Context, c *client) error {
	var has struct{ Persistent map[string]string }
	err := c.ask(ctx, http.MethodGet, "/_cluster/settings?flat_settings=true", nil, &has)
	if err != nil || has.Persistent[replicas] == "0" {
		return err
	}
	wanted := map[string]any{"persistent": map[string]string{replicas: "0"}}
	return c.ask(ctx, http.MethodPut, "/_cluster/settings", wanted, nil)
}
