package lag

import (
	"strings"
	"time"
)

// Trouble is the kind of trouble of an instance of which a node is too far behind to be read from.
const Trouble = "replica"

// Sentence says which nodes are not read from for their lag, and who serves those who read instead: the primary, or the
// other nodes. It is empty where no node is late. The one that is called standby is known to users as that.
func Sentence(late []string, standby string, isPrimarys bool, limit time.Duration) string {
	if len(late) == 0 {
		return ""
	}
	name, others := "Replica "+late[0]+" is", "other nodes serve"
	switch {
	case len(late) > 1:
		name = "Nodes " + strings.Join(late, " and ") + " are"
	case late[0] == standby:
		name = "The standby is"
	}
	if isPrimarys {
		others = "the primary serves"
	}
	return name + " behind by more than max_replica_lag, " + limit.String() +
		". Until that is no longer so, " + others + " who reads from replicas."
}
