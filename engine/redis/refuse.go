package redis

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// growing says how much memory keys may take, and which go where it is used up. All of the plan's memory is for keys:
// the copy that a rewrite of the append-only file takes comes on top.
//
// On a full node no memory is left, and no key goes for that: the server then refuses all commands that may take more,
// in whatever session, and runs those that read and delete. The line that comes first keeps it from evicting keys, as
// it would with the other alone.
func growing(n engine.Node, s settings) []setting {
	memory, policy := counted(n), s.MaxmemoryPolicy
	if n.Full {
		return []setting{{"maxmemory-policy", []string{"noeviction"}}, {"maxmemory", []string{"1"}}}
	}
	return []setting{
		{"maxmemory", []string{strconv.FormatInt(int64(memory), 10)}}, {"maxmemory-policy", []string{policy}},
	}
}

// counted is the plan's memory, and what the server counts with it that is not for keys.
func counted(n engine.Node) backstay.Bytes { return n.Size.Memory + backlog(n) }

// MakingRoom says that deleting works as ever.
func (Engine) MakingRoom(engine.Installation) string { return "by DEL, UNLINK or FLUSHALL" }

// RefuseWrites sets how much memory keys may take. What was deleted gives room back to the disk when the append-only
// file is written anew, so that is begun where something was appended to it.
func (Engine) RefuseWrites(ctx context.Context, n engine.Node, w engine.Writes) error {
	n.Full = w != engine.AnyWrites
	p, err := plan(n)
	if err != nil {
		return err
	}
	s, err := parseSettings(n)
	if err != nil {
		return err
	}
	if err := p.Reconfigure(); err != nil {
		return err
	}
	return withOperator(ctx, n, func(c *redis.Client) error {
		for _, line := range growing(n, s) {
			if _, err := set(ctx, c, line); err != nil {
				return fmt.Errorf("set %s: %w", line.name, err)
			}
		}
		if !n.Full {
			return nil
		}
		return rewrite(ctx, c, n)
	})
}

// rewrite begins to write the append-only file anew, if it has grown since the last time and there is room for what it
// will take at the most.
func rewrite(ctx context.Context, c *redis.Client, n engine.Node) error {
	info, err := c.Do(ctx, "INFO", "persistence", "memory").Text()
	if err != nil {
		return err
	}
	numbers := map[string]int64{}
	for _, match := range infoNumber.FindAllStringSubmatch(info, -1) {
		numbers[match[1]], _ = strconv.ParseInt(match[2], 10, 64) // it is digits
	}
	grown := numbers["aof_current_size"] > numbers["aof_base_size"]
	if !grown || numbers["aof_rewrite_in_progress"] != 0 || numbers["aof_rewrite_scheduled"] != 0 ||
		!engine.HasRoom(n.DataDir, backstay.Bytes(numbers["used_memory"])) {
		return nil
	}
	return c.BgRewriteAOF(ctx).Err()
}
