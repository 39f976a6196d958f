package redis

import (
	"slices"
	"strings"

	"github.com/backstay/backstay/engine"
)

// Tuning returns the settings that users may choose. maxmemory_policy is a parameter of its own, as users of the
// guide's system know it. None takes a restart.
func (Engine) Tuning(i engine.Installation) engine.Tuning {
	return slices.DeleteFunc(tuning(), func(s engine.Setting) bool {
		return strings.Contains(s.Name, "listpack") && engine.CompareVersions(i.Version, "7") < 0 // has other names then
	})
}

func tuning() engine.Tuning {
	return engine.Tuning{
		{Name: "appendfsync", Of: engine.Choice, Values: []string{"everysec", "always"}, Default: "everysec",
			Meaning: "Whether a write waits for the disk (always), or may be lost for up to two seconds when the server or " +
				"its machine dies."},
		{Name: "hash-max-listpack-entries", Of: engine.Number, Most: 65536, Default: "128",
			Meaning: "Up to how many fields a hash is kept in its compact form."},
		{Name: "hash-max-listpack-value", Of: engine.Number, Most: 65536, Default: "64",
			Meaning: "Up to which size of its values, in bytes, a hash is kept in its compact form."},
		{Name: "latency-monitor-threshold", Of: engine.Number, Most: 60000, Default: "100",
			Meaning: "From how many milliseconds on LATENCY notes an event; 0 none."},
		{Name: "lazyfree-lazy-eviction", Of: engine.Switch, Default: "off",
			Meaning: "Whether the memory of evicted keys is freed in the background."},
		{Name: "lazyfree-lazy-expire", Of: engine.Switch, Default: "off",
			Meaning: "Whether the memory of expired keys is freed in the background."},
		{Name: "lazyfree-lazy-user-del", Of: engine.Switch, Default: "off",
			Meaning: "Whether DEL frees memory in the background, as UNLINK does."},
		{Name: "lfu-decay-time", Of: engine.Number, Most: 65535, Default: "1",
			Meaning: "After how many minutes without use a key counts as used less."},
		{Name: "lfu-log-factor", Of: engine.Number, Most: 255, Default: "10",
			Meaning: "How much use it takes for a key to count as used more."},
		{Name: "maxmemory-samples", Of: engine.Number, Least: 1, Most: 64, Default: "5",
			Meaning: "How many keys are looked at to find the one to evict."},
		{Name: "notify-keyspace-events", Of: engine.Text, Pattern: `[KEg$lshzxetdmnA]{0,15}`, Example: "Egx",
			Meaning: "Which events of keys are published, as Redis' letters say; empty none."},
		{Name: "set-max-intset-entries", Of: engine.Number, Most: 65536, Default: "512",
			Meaning: "Up to how many numbers a set is kept in its compact form."},
		{Name: "slowlog-log-slower-than", Of: engine.Number, Least: -1, Most: 60000000, Default: "10000",
			Meaning: "From how many microseconds on SLOWLOG keeps a command; -1 none."},
		{Name: "slowlog-max-len", Of: engine.Number, Least: 1, Most: 4096, Default: "128",
			Meaning: "How many commands SLOWLOG keeps."},
		{Name: "tcp-keepalive", Of: engine.Number, Least: 10, Most: 3600, Default: "60",
			Meaning: "After how many silent seconds a client is asked whether it is still there."},
		{Name: "timeout", Of: engine.Number, Most: 31536000, Default: "0",
			Meaning: "After how many seconds a client is disconnected that says nothing; 0 never."},
		{Name: "zset-max-listpack-entries", Of: engine.Number, Most: 65536, Default: "128",
			Meaning: "Up to how many members a sorted set is kept in its compact form."},
		{Name: "zset-max-listpack-value", Of: engine.Number, Most: 65536, Default: "64",
			Meaning: "Up to which size of its members, in bytes, a sorted set is kept in its compact form."},
	}
}

// tuningLines returns a line for every setting of Tuning: what somebody chose, or the default. Without a line for the
// default nothing would put it in force again while the server runs.
func tuningLines(n engine.Node, all []engine.Chosen) []setting {
	values := map[string]string{}
	for _, c := range all {
		values[c.Name] = c.Value
	}
	var lines []setting
	for _, s := range (Engine{}).Tuning(n.Installation) {
		value, chosen := values[s.Name]
		if !chosen {
			value = s.Default
		}
		if s.Of == engine.Switch {
			value = map[string]string{"on": "yes", "off": "no"}[value]
		}
		lines = append(lines, setting{s.Name, []string{value}})
	}
	return lines
}
