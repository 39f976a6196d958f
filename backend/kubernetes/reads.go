package kubernetes

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Who reads from a replica connects to a service of ours, which selects nobody: where it leads, a slice of ours says,
// which lists the standbys that are fit to be read from, or the primary while none is.

// readsSuffix is behind the instance's name in that of the service for reads and of its slice. The operator's own, -ro
// and -r, lead to each standby, however old what it has is.
const readsSuffix = "-reads"

// reading is where an instance is read from, once somebody was given an address for that.
type reading struct {
	port int    // of the machines, where Exposure is by these
	host string // of its load balancer, where Exposure is by one
	to   []reached
}

// reached is a node as those reach it who are in the cluster.
type reached struct{ pod, address string }

// readers is the service for reads, however clients come to it.
func (w wish) readers(r reading) *unstructured.Unstructured {
	o, kind := w.new("v1", "Service", readsSuffix), "ClusterIP"
	port := serverPorts()
	port["targetPort"] = int64(serverPort)
	switch {
	case r.host != "":
		kind = "LoadBalancer"
		annotations := map[string]string{published: r.host}
		maps.Copy(annotations, w.annotations)
		o.SetAnnotations(annotations)
	case r.port > 0:
		kind, port["nodePort"] = "NodePort", int64(r.port)
	}
	spec := map[string]any{"type": kind, "ports": []any{port}}
	if kind != "ClusterIP" {
		spec["externalTrafficPolicy"] = "Cluster"
	}
	o.Object["spec"] = spec
	return o
}

// slice says where that service leads. Nodes of an instance have addresses of one kind, which a slice never changes.
func (w wish) slice(r reading) *unstructured.Unstructured {
	o := w.new("discovery.k8s.io/v1", "EndpointSlice", readsSuffix)
	labels := o.GetLabels()
	labels["kubernetes.io/service-name"] = nameOf(w.spec.Instance) + readsSuffix
	labels["endpointslice.kubernetes.io/managed-by"] = manager
	o.SetLabels(labels)
	kind, endpoints := "IPv4", []any{}
	for _, n := range slices.SortedFunc(slices.Values(r.to), func(a, b reached) int {
		return strings.Compare(a.pod, b.pod)
	}) {
		if strings.Contains(n.address, ":") {
			kind = "IPv6"
		}
		endpoints = append(endpoints, map[string]any{
			"addresses": []any{n.address}, "conditions": map[string]any{"ready": true},
			"targetRef": map[string]any{"kind": "Pod", "namespace": w.namespace, "name": n.pod},
		})
	}
	o.Object["addressType"], o.Object["endpoints"] = kind, endpoints
	o.Object["ports"] = []any{serverPorts()}
	return o
}

func serverPorts() map[string]any {
	return map[string]any{"name": "postgres", "protocol": "TCP", "port": int64(serverPort)}
}

// follower is what was seen of one node that follows.
type follower struct {
	reached
	ready    bool // Kubernetes has it take connections
	followed bool // since it was looked at first
	late     bool // what its clients read is too old
	mute     bool // it has not said for a while how it follows
	knows    bool // it has no sessions of users that were dropped
}

func (f follower) isFit() bool { return f.ready && f.followed && f.knows && !f.late && !f.mute }

// route says where reads go: to all nodes that are fit, and to the primary while none is; and which nodes nobody reads
// from any more, whose sessions end. Those on the primary are left alone.
func route(primary reached, followers []follower) (to []reached, shut []string) {
	for _, f := range followers {
		if f.isFit() {
			to = append(to, f.reached)
		} else {
			shut = append(shut, f.pod)
		}
	}
	if len(to) == 0 && primary.address != "" {
		to = []reached{primary}
	}
	return to, shut
}
