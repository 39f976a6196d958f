package opensearch

import (
	"context"
	"maps"
	"net/http"

	"github.com/backstay/backstay/engine"
)

// Configure gives the roles of bindings the rights that this version of ours knows, and the server what it takes from
// nobody but a client.
func (Engine) Configure(ctx context.Context, n engine.Node) error {
	return withAdmin(ctx, n, func(c *client) error {
		if err := usersOpen(ctx, c); err != nil {
			return err
		}
		if err := configureRoles(ctx, c); err != nil {
			return err
		}
		if err := configureCluster(ctx, c, n); err != nil {
			return err
		}
		return refuseWrites(ctx, c, n.Full)
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

// configureCluster gives the server what it lacks of its settings.
func configureCluster(ctx context.Context, c *client, n engine.Node) error {
	chosen, err := tune(n)
	if err != nil {
		return err
	}
	wanted := chosen.persistent
	wanted[replicas] = "0"
	has, err := persistent(ctx, c)
	if err != nil {
		return err
	}
	maps.DeleteFunc(wanted, func(name string, value any) bool {
		is, there := has[name]
		return value == nil && !there || there && value == is
	})
	if len(wanted) == 0 {
		return nil
	}
	return persist(ctx, c, wanted)
}

// persistent returns the settings that the server has been given and keeps.
func persistent(ctx context.Context, c *client) (map[string]string, error) {
	var has struct{ Persistent map[string]string }
	err := c.ask(ctx, http.MethodGet, "/_cluster/settings?flat_settings=true", nil, &has)
	return has.Persistent, err
}

// persist gives the server settings; those that are nil are what they are by themselves again.
func persist(ctx context.Context, c *client, wanted map[string]any) error {
	return c.ask(ctx, http.MethodPut, "/_cluster/settings", map[string]any{"persistent": wanted}, nil)
}
