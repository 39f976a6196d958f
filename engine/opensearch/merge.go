package opensearch

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// A merge takes as much room as what it merges, and that may be more than is kept. While a node is full, none begins
// that takes more than this, but in an index whose users have said themselves how large one may be. It is a number that
// nobody says, by which those are known of whom we have.
const (
	mostMerged  = "index.merge.policy.max_merged_segment"
	littleMerge = "2097151b"
)

// namesAtOnce are as many names of indices as surely fit into the first line of a request, of 4096 bytes.
const namesAtOnce = 4

// holdMerges has no large merge begin in indices of which settings can be said: of others, nobody changes anything. It
// is one request, or none where that cannot say which: what clients write is refused behind it.
func holdMerges(ctx context.Context, c *client, all blocks) error {
	free, others := all.changeable()
	which, ok := allBut(others)
	if len(free) <= namesAtOnce {
		which, ok = strings.Join(free, ","), len(free) > 0
	}
	if !ok {
		return nil
	}
	return set(ctx, c, which, map[string]any{mostMerged: littleMerge}, "preserve_existing=true")
}

// allBut are all indices but those with these names, and those of the security plugin; ok is false where that is too
// long to be said.
func allBut(names []string) (which string, ok bool) {
	which = everything
	for _, name := range names {
		which += ",-" + name
	}
	return which, len(names) <= namesAtOnce
}

// letMerge lets indices be merged again of which we have said that they are not. Those of which it cannot be said, it
// is said at a later start.
func letMerge(ctx context.Context, c *client) error {
	var said map[string]struct{ Settings map[string]string }
	where := "/" + everything + "/_settings/" + mostMerged +
		"?flat_settings=true&expand_wildcards=all&allow_no_indices=true"
	if err := c.ask(ctx, http.MethodGet, where, nil, &said); err != nil {
		return err
	}
	maps.DeleteFunc(said, func(_ string, index struct{ Settings map[string]string }) bool {
		return index.Settings[mostMerged] != littleMerge
	})
	if len(said) == 0 {
		return nil
	}
	all, err := blocksOf(ctx, c)
	if err != nil {
		return err
	}
	maps.DeleteFunc(all, func(name string, _ map[string]block) bool { _, is := said[name]; return !is })
	free, _ := all.changeable()
	for some := range slices.Chunk(free, namesAtOnce) {
		if err := set(ctx, c, strings.Join(some, ","), map[string]any{mostMerged: nil}); err != nil {
			return err
		}
	}
	return nil
}
