package redis

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// linkState is what a server says of whom it follows, and who follows it.
type linkState struct {
	primary bool
	history string // names the line of changes that offset counts bytes of
	offset  int64  // a primary's: of its log's end
	nodes   map[string]linkedNode

	host, port string // that a node follows
	up         bool
	received   int64         // of the log of the one that it follows, to the end of what it has executed
	silent     time.Duration // since it was connected last; 0 if it is
	logs       bool          // its append-only file is on, as it is not while it loads

	memory backstay.Bytes // that it uses
	loaded backstay.Bytes // of what it is sent as a whole
	saved  float64        // part of it that is in the append-only file which is written anew
}

// linkedNode is a node that follows, as the primary sees it.
type linkedNode struct {
	online   bool
	received int64         // as it has said last
	silent   time.Duration // since then, in whole seconds
}

func askLink(ctx context.Context, c *redis.Client) (linkState, error) {
	info, err := c.Do(ctx, "INFO", "replication", "persistence", "memory", "server").Text()
	return readLink(info), err
}

// linkOf is askLink of a node that nobody is connected to yet.
func linkOf(ctx context.Context, n engine.Node) (s linkState, err error) {
	err = withOperator(ctx, n, func(c *redis.Client) (err error) {
		s, err = askLink(ctx, c)
		return err
	})
	return s, err
}

// readLink reads the sections "replication", "persistence", "memory" and "server" of INFO.
func readLink(info string) linkState {
	lines := map[string]string{}
	s := linkState{nodes: map[string]linkedNode{}}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		lines[name] = value
		if strings.HasPrefix(name, "slave") && strings.HasPrefix(value, "ip=") {
			name, node := readNode(value)
			s.nodes[name] = node
		}
	}
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(lines[name], 10, 64) // what is missing is 0
		return n
	}
	s.primary, s.history, s.offset = lines["role"] == "master", lines["master_replid"], number("master_repl_offset")
	s.host, s.port, s.received = lines["master_host"], lines["master_port"], number("slave_repl_offset")
	s.up = lines["master_link_status"] == "up" && lines["master_sync_in_progress"] == "0"
	s.logs = lines["aof_enabled"] == "1" && lines["loading"] == "0"
	s.memory, s.loaded = backstay.Bytes(number("used_memory")), backstay.Bytes(number("loading_loaded_bytes"))
	s.saved = float64(number("current_save_keys_processed")) / float64(max(number("current_save_keys_total"), 1))
	if !s.up {
		seconds := number("master_link_down_since_seconds")
		if seconds < 0 { // it has not been connected yet
			seconds = number("uptime_in_seconds")
		}
		s.silent = time.Duration(max(seconds, 1)) * time.Second
	}
	return s
}

// readNode reads what the primary says of a node: "ip=b,port=20001,state=online,offset=42,lag=1".
func readNode(text string) (name string, node linkedNode) {
	for field := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(field, "=")
		number, _ := strconv.ParseInt(value, 10, 64)
		switch key {
		case "ip":
			name = value
		case "state":
			node.online = value == "online"
		case "offset":
			node.received = number
		case "lag":
			node.silent = time.Duration(number) * time.Second
		}
	}
	return name, node
}

// hasCopy reports whether the node has had a whole copy of what it follows since it was started. One that has not says
// that it has received 1 byte; the first thing that it is sent behind a copy is longer.
func (s linkState) hasCopy() bool { return s.received > 1 }

// toLoad is how much is before a node that is sent a copy of all that the primary has, and writes it to its files then.
func (s linkState) toLoad(all backstay.Bytes) backstay.Bytes { return 2*all - min(s.loaded, all) }

// toSave is how much of what a node has had a copy of is not in its files yet, while these are written.
func (s linkState) toSave() backstay.Bytes {
	return backstay.Bytes(float64(s.memory) * (1 - min(s.saved, 1)))
}

// silenceLimit is how long ago a node that is to be promoted may have lost its primary. One that lost it before may
// have done so while the primary went on, and the longer ago that is, the more it would lack.
const silenceLimit = time.Minute

// mayLead reports whether a node that has lost its primary lacks the last moment at most, as far as it can tell.
func (s linkState) mayLead() bool { return s.hasCopy() && s.silent <= silenceLimit }
