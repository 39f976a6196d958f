package opensearch

import "slices"

// Names of roles.
const (
	writes = "writes"
	reads  = "reads"
)

// role is what the security plugin knows of one. What is allowed for the cluster names no index, or several.
type role struct {
	Cluster []string `json:"cluster_permissions"`
	Indices []grant  `json:"index_permissions"`
}

type grant struct {
	Patterns []string `json:"index_patterns"`
	Actions  []string `json:"allowed_actions"`
}

func (r role) equals(other role) bool {
	return slices.Equal(r.Cluster, other.Cluster) && slices.EqualFunc(r.Indices, other.Indices, func(a, b grant) bool {
		return slices.Equal(a.Patterns, b.Patterns) && slices.Equal(a.Actions, b.Actions)
	})
}

// everyIndex is all of them but the security plugin's own. That it hides them itself is the other wall.
var everyIndex = []string{`/^(?!\.opendistro_security|\.opensearch-security).*$/`}

// harmless is what may be asked of all indices at once, the plugin's own among them: from what else is asked so, it
// leaves that one out.
var harmless = grant{Patterns: []string{"*"}, Actions: []string{"indices:admin/mappings/get", "indices:admin/refresh*"}}

// look is what is asked before anything is done. Of nodes nothing is told: their directories are nobody's business.
var look = []string{
	"cluster:monitor/main", "cluster:monitor/health", "cluster:monitor/state", "cluster:monitor/task",
	"cluster:monitor/task/get", "cluster:monitor/tasks/lists",
}

var roles = map[string]role{
	writes: {
		Cluster: slices.Concat(look, []string{
			"indices:data/read/*", "indices:data/write/*", "indices:admin/aliases*", "indices:admin/analyze",
			"indices:admin/resolve/*", "indices:admin/template/*", "indices:admin/index_template/*",
			"cluster:admin/component_template/*", "cluster:admin/script/*", "cluster:admin/reindex/rethrottle",
		}),
		Indices: []grant{{Patterns: everyIndex, Actions: []string{"indices:*"}}, harmless},
	},
	reads: {
		Cluster: slices.Concat(look, []string{"indices:data/read/*"}),
		Indices: []grant{{Patterns: everyIndex, Actions: []string{
			"indices:data/read/*", "indices:admin/aliases/get", "indices:admin/aliases/exists", "indices:admin/exists",
			"indices:admin/get", "indices:admin/mappings/get", "indices:admin/mappings/fields/get*",
			"indices:admin/resolve/*", "indices:admin/validate/query", "indices:monitor/settings/get",
			"indices:monitor/stats",
		}}, harmless},
	},
}
