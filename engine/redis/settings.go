package redis

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// settings are what users may tune of a node.
type settings struct {
	MaxmemoryPolicy string `json:"maxmemory_policy"`
}

// policies say what goes when memory is full.
var policies = []string{"volatile-lru", "allkeys-lru", "allkeys-random", "volatile-random", "volatile-ttl", "noeviction"}

// parseSettings is Invalid for anything it does not know.
func parseSettings(n engine.Node) (settings, error) {
	s := settings{MaxmemoryPolicy: policies[0]}
	if len(n.Settings) == 0 {
		return s, nil
	}
	d := json.NewDecoder(bytes.NewReader(n.Settings))
	d.DisallowUnknownFields()
	err := d.Decode(&s)
	if err == nil && !errors.Is(d.Decode(new(any)), io.EOF) {
		err = errors.New("more than one JSON value")
	}
	if err != nil {
		return s, backstay.Wrapf(err, backstay.Invalid, "The settings are not what Redis takes: %s.", strings.TrimPrefix(err.Error(), "json: "))
	}
	if !slices.Contains(policies, s.MaxmemoryPolicy) {
		return s, backstay.Errorf(backstay.Invalid, "maxmemory_policy %q: want one of %s.", s.MaxmemoryPolicy, strings.Join(policies, ", "))
	}
	return s, nil
}
