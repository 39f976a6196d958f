package opensearch

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

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
	case !refuse && !refuses: // what is blocked, its users have blocked
		return letMerge(ctx, c)
	case !refuse:
		if err := set(ctx, c, everything, map[string]any{indexBlock: nil}); err != nil {
			return err
		}
		if err := letMerge(ctx, c); err != nil {
			return err
		}
		return persist(ctx, c, map[string]any{newIndices: nil})
	case !refuses:
		if err := persist(ctx, c, map[string]any{newIndices: true}); err != nil {
			return err
		}
	}
	all, err := blocksOf(ctx, c)
	if err != nil || !all.lack(indexBlockID) {
		return err
	}
	held := holdMerges(ctx, c, all) // if that is an error, the rest is done all the same
	if err := set(ctx, c, everything, map[string]any{indexBlock: true}); err != nil {
		return errors.Join(held, err)
	}
	return errors.Join(held, flush(ctx, c))
}

// flush gives back what is logged of documents that their indices have, which may be half of what a node holds. For an
// index of which a part is nowhere the server would wait a minute.
func flush(ctx context.Context, c *client) error {
	var health struct {
		Indices map[string]struct{ Status string }
	}
	err := c.ask(ctx, http.MethodGet, "/_cluster/health?level=indices&timeout=0s", nil, &health)
	if err != nil {
		return err
	}
	var lack []string
	for name, index := range health.Indices {
		if index.Status == "red" {
			lack = append(lack, url.PathEscape(name))
		}
	}
	which, ok := allBut(lack)
	if !ok {
		return nil
	}
	where := "/" + which + "/_flush?allow_no_indices=true&ignore_unavailable=true"
	return c.ask(ctx, http.MethodPost, where, nil, nil)
}

// changeTries is how often a change of indices is tried that are being deleted meanwhile: of all of them, none is made.
const changeTries = 5

// set gives indices settings; those that are nil are what they are by themselves again.
func set(ctx context.Context, c *client, indices string, settings map[string]any, how ...string) (err error) {
	how = append(how, "expand_wildcards=all", "allow_no_indices=true", "ignore_unavailable=true")
	where := "/" + indices + "/_settings?" + strings.Join(how, "&")
	for range changeTries {
		err = c.ask(ctx, http.MethodPut, where, settings, nil)
		var said *refusal
		if !errors.As(err, &said) || said.status != http.StatusNotFound {
			return err
		}
	}
	return err
}

// blocks are those of each index, by their numbers.
type blocks map[string]map[string]block

type block struct{ Levels []string }

func blocksOf(ctx context.Context, c *client) (blocks, error) {
	var state struct {
		Metadata struct{ Indices map[string]any }
		Blocks   struct{ Indices blocks }
	}
	where := "/_cluster/state/metadata,blocks/" + everything +
		"?expand_wildcards=all&filter_path=metadata.indices.*.state,blocks.indices.*.*.levels"
	if err := c.ask(ctx, http.MethodGet, where, nil, &state); err != nil {
		return nil, err
	}
	all := blocks{}
	for name := range state.Metadata.Indices {
		all[name] = state.Blocks.Indices[name]
	}
	return all, nil
}

// lack tells whether an index does not have the block.
func (all blocks) lack(id string) bool {
	for _, has := range all {
		if _, blocked := has[id]; !blocked {
			return true
		}
	}
	return false
}

// changeable tells the names, as requests have them, of indices of which settings can be said, and of the others.
func (all blocks) changeable() (names, others []string) {
	for name, has := range all {
		forbids := func(b block) bool { return slices.Contains(b.Levels, "metadata_write") }
		if slices.ContainsFunc(slices.Collect(maps.Values(has)), forbids) {
			others = append(others, url.PathEscape(name))
		} else {
			names = append(names, url.PathEscape(name))
		}
	}
	return names, others
}
