package kubernetes

import (
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Who reads from a replica connects to a service of ours, which leads to the pods that have a label: the standbys that
// are fit to be read from, or the primary while none is. See docs/decisions/reads-on-kubernetes-follow-a-label.md.

// readsSuffix is behind the instance's name in that of the service for reads. The operator's own, -ro and -r, lead to
// each standby, however old what it has is.
const readsSuffix = "-reads"

// labelled is the value of the label of those that serve reads.
const labelled = "yes"

// reading is where an instance is read from. Like its endpoint it is held for life, from the first one on who was given
// it.
type reading struct {
	Given bool   `json:"given"`
	Port  int    `json:"port,omitempty"` // of the machines, where Exposure is by these
	Host  string `json:"host,omitempty"` // of its load balancer, where Exposure is by one
}

// readService is the service for reads, however clients come to it.
func (w wish) readService() *unstructured.Unstructured {
	o, kind := w.new("v1", "Service", readsSuffix), "ClusterIP"
	port := map[string]any{
		"name": "postgres", "protocol": "TCP", "port": int64(serverPort), "targetPort": int64(serverPort),
	}
	switch {
	case w.reads.Host != "":
		kind = "LoadBalancer"
		annotations := map[string]string{published: w.reads.Host}
		maps.Copy(annotations, w.annotations)
		o.SetAnnotations(annotations)
	case w.reads.Port > 0:
		kind, port["nodePort"] = "NodePort", int64(w.reads.Port)
	}
	spec := map[string]any{
		"type": kind, "selector": map[string]any{clusterLabel: nameOf(w.spec.Instance), readsLabel: labelled},
		"ports": []any{port},
	}
	if kind != "ClusterIP" {
		spec["externalTrafficPolicy"] = "Cluster"
	}
	o.Object["spec"] = spec
	return o
}

// follower is what is known of one node that follows.
type follower struct {
	name     string
	ready    bool // Kubernetes has it take connections
	followed bool // since it was looked at first
	late     bool // what its clients read is too old
	mute     bool // it has not said for a while how it follows
	knows    bool // it has no sessions of users that were dropped
}

func (f follower) isFit() bool { return f.ready && f.followed && f.knows && !f.late && !f.mute }

// route says where reads go: to nodes that are fit, up to so many of them, and to the primary while none is; and which
// nodes nobody reads from any more, whose sessions end. Those on the primary, and on others that are fit, are left
// alone.
func route(primary string, followers []follower, most int) (to, shut []string) {
	for _, f := range followers {
		switch {
		case most == 0 || !f.isFit():
			shut = append(shut, f.name)
		case len(to) < most:
			to = append(to, f.name)
		}
	}
	if len(to) == 0 && primary != "" {
		to = []string{primary}
	}
	return to, shut
}
