package kubernetes

import (
	"regexp"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backstay/backstay"
)

const (
	manager       = "backstay" // of the fields that we apply
	managedBy     = "app.kubernetes.io/managed-by"
	instanceLabel = "backstay/instance"
	readsLabel    = "backstay/reads" // of the pods that serve reads
	recordLabel   = "backstay/record"
	owedLabel     = "backstay/owed"   // on what is in the cluster of an instance that is gone
	clusterLabel  = "cnpg.io/cluster" // CloudNativePG's, on all that it makes for a Cluster
	restartedAt   = "kubectl.kubernetes.io/restartedAt"
	serverPort    = 5432
)

var (
	clusters    = schema.GroupVersionResource{Group: "postgresql.cnpg.io", Version: "v1", Resource: "clusters"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	pods        = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	claims      = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	backups     = schema.GroupVersionResource{Group: "postgresql.cnpg.io", Version: "v1", Resource: "backups"}
	upgradeJobs = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	nodes       = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	policies    = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}
	classes     = schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
)

// kinds are what an instance consists of that we apply, by their kind.
var kinds = map[string]schema.GroupVersionResource{
	"Cluster": clusters, "Backup": backups, "Secret": secrets, "Service": services, "NetworkPolicy": policies,
}

// usable matches the ids from which names of Kubernetes can be made: a Cluster's is at most 50 long, and ours has a
// prefix so that it begins with a letter.
var usable = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

func checkID(id backstay.InstanceID) error {
	if !usable.MatchString(string(id)) {
		return backstay.Errorf(backstay.Invalid, "%q cannot be the id of a service instance.", id)
	}
	return nil
}

// nameOf is what the instance's Cluster is called, and what the names of all that belongs to it begin with. None of
// ours may be one that the operator gives: NAME-ca, NAME-server, NAME-replication, NAME-superuser, NAME-app, NAME-rw,
// NAME-ro and NAME-r.
func nameOf(id backstay.InstanceID) string { return "bs-" + string(id) }

func recordName(id backstay.InstanceID) string { return nameOf(id) + "-record" }

// service is the name inside the cluster under which the primary is reached.
func (c *Config) service(id backstay.InstanceID) string {
	return nameOf(id) + "-rw." + c.Namespace + ".svc"
}
