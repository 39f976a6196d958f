package redis

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// askLimit is how long a check waits for the running server. One that takes longer is not asked how much it holds.
const askLimit = 2 * time.Second

// checkData refuses a node with less memory than the data in the running server takes, unless the node's policy evicts
// enough of the data. Whoever cannot be asked has no part in this: the server would read its data back at a start
// however little memory it has.
func checkData(ctx context.Context, n engine.Node) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	c, err := operatorClient(n)
	if err != nil {
		return nil
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	err = refuseToShrink(ctx, c, n)
	if backstay.KindOf(err) != backstay.Unsupported {
		return nil
	}
	return err
}

// refuseToShrink is Unsupported where the server holds more than the node's memory and could not evict what is too
// much. With a policy that evicts every key there is always enough. With noeviction every key stays; with the others,
// those stay that never expire, and every write would be refused once there is nothing else left.
func refuseToShrink(ctx context.Context, c *redis.Client, n engine.Node) error {
	s, err := parseSettings(n)
	if err != nil || strings.HasPrefix(s.MaxmemoryPolicy, "allkeys-") {
		return err
	}
	has, err := c.ConfigGet(ctx, "maxmemory").Result()
	if err != nil {
		return err
	}
	if now, err := strconv.ParseInt(has["maxmemory"], 10, 64); err != nil || now <= int64(counted(n)) {
		return err
	}
	info, err := c.Do(ctx, "INFO", "memory", "keyspace").Text()
	if err != nil {
		return err
	}
	stays := readHolding(info).stays(s.MaxmemoryPolicy)
	if stays <= counted(n) {
		return nil
	}
	which := "The data takes"
	if s.MaxmemoryPolicy != "noeviction" {
		which = "Data that never expires takes about"
	}
	return backstay.Errorf(backstay.Unsupported, "%s %d MB, and there would be %d MB of memory. "+
		"Delete keys, or choose a maxmemory_policy that evicts all keys, such as allkeys-lru.",
		which, stays/backstay.MB, n.Size.Memory/backstay.MB)
}

// holding is how much a server holds.
type holding struct {
	bytes          backstay.Bytes // that count against maxmemory
	keys, expiring int64
}

// infoNumber matches a line of INFO whose value is a number.
var infoNumber = regexp.MustCompile(`(?m)^([a-z_.]+):(\d+)\r?$`)

// infoKeys matches a line of INFO about a database: "db0:keys=3,expires=1,avg_ttl=0".
var infoKeys = regexp.MustCompile(`(?m)^db\d+:keys=(\d+),expires=(\d+)`)

// readHolding reads the sections "memory" and "keyspace" of INFO.
func readHolding(info string) (h holding) {
	for _, match := range infoNumber.FindAllStringSubmatch(info, -1) {
		number, _ := strconv.ParseInt(match[2], 10, 64) // it is digits
		switch match[1] {
		case "used_memory":
			h.bytes += backstay.Bytes(number)
		case "mem_not_counted_for_evict": // buffers
			h.bytes -= backstay.Bytes(number)
		}
	}
	for _, match := range infoKeys.FindAllStringSubmatch(info, -1) {
		keys, _ := strconv.ParseInt(match[1], 10, 64)
		expiring, _ := strconv.ParseInt(match[2], 10, 64)
		h.keys, h.expiring = h.keys+keys, h.expiring+expiring
	}
	return h
}

// stays returns how much of it stays under a policy that does not evict every key. That keys which expire are as large
// as the others is an estimate.
func (h holding) stays(policy string) backstay.Bytes {
	if policy == "noeviction" || h.keys == 0 {
		return h.bytes
	}
	return h.bytes / backstay.Bytes(h.keys) * backstay.Bytes(h.keys-h.expiring)
}
