package redis

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// settings are what users may tune of a node.
type settings struct {
	MaxmemoryPolicy string                     `json:"maxmemory_policy"`
	Settings        map[string]json.RawMessage `json:"settings"` // see Tuning

	chosen []engine.Chosen // what Settings says
}

// policies are the values of maxmemory_policy, which says what is evicted when memory is full; the first is the
// default.
var policies = []string{
	"volatile-lru", "allkeys-lru", "allkeys-random", "volatile-random", "volatile-ttl", "noeviction",
}

// parseSettings returns the node's settings. The error is Invalid for anything that Redis does not know.
func parseSettings(n engine.Node) (settings, error) {
	s := settings{MaxmemoryPolicy: policies[0]}
	if err := n.DecodeSettings("Redis", &s); err != nil {
		return s, err
	}
	if !slices.Contains(policies, s.MaxmemoryPolicy) {
		return s, backstay.Errorf(backstay.Invalid,
			"maxmemory_policy %q: want one of %s.", s.MaxmemoryPolicy, strings.Join(policies, ", "))
	}
	var err error
	s.chosen, err = Engine{}.Tuning(n.Installation).Parse(s.Settings, n.Size.Memory)
	return s, err
}
