package opensearch

import (
	"context"
	"net/http"

	"github.com/backstay/backstay/engine"
)

var _ engine.Refuser = Engine{}

// Blocks by which a full node refuses what clients write. One is of each index, which can be removed all the same, the
// other one of new indices. Clients can lift that of an index, and be given it again when it is looked the next time.
const (
	indexBlock   = "index.blocks.read_only_allow_delete"
	newIndices   = "cluster.blocks.create_index"
	indexBlockID = "12" // of indexBlock, in the cluster's state
)

// MakingRoom says what can be deleted: to delete documents takes room first.
func (Engine) MakingRoom(engine.Installation) string { return "by deleting indices" }

// RefuseWrites blocks all indices, or lifts what it has blocked. A request that goes on by itself, as a reindexing
// does, fails at the next of its writes.
func (Engine) RefuseWrites(ctx context.Context, n engine.Node, w engine.Writes) error {
	return withAdmin(ctx, n, func(c *client) error { return refuseWrites(ctx, c, w != engine.AnyWrites) })
}

func refuseWrites(ctx context.Context, c *client, refuse bool) error {
	has, err := persistent(ctx, c)
	if err != nil {
		return err
	}
	refuses := has[newIndices] == "true"
	switch {
	case !refuse && !refuses:
		return nil // what is blocked, its users have blocked
	case !refuse:
		if err := blockIndices(ctx, c, nil); err != nil {
			return err
		}
		return persist(ctx, c, map[string]any{newIndices: nil})
	case !refuses:
		if err := persist(ctx, c, map[string]any{newIndices: true}); err != nil {
			return err
		}
	}
	lacks, err := lacksBlocks(ctx, c)
	if err != nil || !lacks {
		return err
	}
	return blockIndices(ctx, c, true)
}

// blockIndices blocks all indices but those of the security plugin: users can be made and dropped.
func blockIndices(ctx context.Context, c *client, block any) error {
	where := "/" + everything + "/_settings?expand_wildcards=all&allow_no_indices=true"
	return c.ask(ctx, http.MethodPut, where, map[string]any{indexBlock: block}, nil)
}

// lacksBlocks tells whether an index is not blocked that is to be.
func lacksBlocks(ctx context.Context, c *client) (bool, error) {
	var state struct {
		Metadata struct{ Indices map[string]any }
		Blocks   struct{ Indices map[string]any }
	}
	where := "/_cluster/state/metadata,blocks/" + everything +
		"?expand_wildcards=all&filter_path=metadata.indices.*.state,blocks.indices.*." + indexBlockID + ".retryable"
	if err := c.ask(ctx, http.MethodGet, where, nil, &state); err != nil {
		return false, err
	}
	for name := range state.Metadata.Indices {
		if _, blocked := state.Blocks.Indices[name]; !blocked {
			return true, nil
		}
	}
	return false, nil
}
