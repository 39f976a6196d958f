package postgres

import (
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Extensions are those that may be asked for, and that a binding may create by itself. All others
// are refused, trusted or not.
func Extensions() []string { return []string{"postgis", "uuid-ossp"} }

// settings are what users may tune of a node.
type settings struct {
	EnableExtensions []string `json:"enable_extensions"`
}

// parseSettings is Invalid for anything it does not know. The extensions come sorted, each once.
func parseSettings(n engine.Node) (settings, error) {
	var s settings
	if err := n.DecodeSettings("PostgreSQL", &s); err != nil {
		return s, err
	}
	for _, name := range s.EnableExtensions {
		if !slices.Contains(Extensions(), name) {
			return s, backstay.Errorf(backstay.Invalid, "%s is not supported", name)
		}
	}
	slices.Sort(s.EnableExtensions)
	s.EnableExtensions = slices.Compact(s.EnableExtensions)
	return s, nil
}
