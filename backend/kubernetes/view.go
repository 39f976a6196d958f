package kubernetes

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
)

// view is what the cluster shows of an instance.
type view struct {
	Exists  bool
	Gone    bool // it is being deleted
	Ready   bool
	Reason  string // what the operator says that it does, where it is not ready
	Held    string // the annotation by which somebody has the operator keep servers from running
	Primary string
	Target  string // that is to be the primary
	Nodes   []pod
	Jobs    jobs
	Asked   string // the image that is asked for
	Image   string // that the operator makes nodes of
	Major   string // the version of the data, as the operator has it
	Raising raising
	Volumes []volume
}

// volume is one claim of an instance.
type volume struct {
	Name    string
	Size    backstay.Bytes // that it has
	Trouble string         // why it does not become larger, a sentence
}

// pod is one node of an instance.
type pod struct {
	Name    string
	Ready   bool
	ID      string // another one, if it is another pod of the same name
	Reads   bool   // its label says that it serves reads
	Memory  string
	Image   string
	Lacking bool   // the cluster has not got its image
	Trouble string // why it does not start, a sentence
}

// look reads the Cluster, nil where there is none, its pods and its claims.
func look(cluster *unstructured.Unstructured, podList, claimList []*unstructured.Unstructured) (v view) {
	if cluster != nil {
		v.Exists, v.Gone = true, cluster.GetDeletionTimestamp() != nil
		v.Primary = text(cluster, "status", "currentPrimary")
		v.Target = text(cluster, "status", "targetPrimary")
		v.Ready = hasCondition(cluster, "Ready")
		v.Asked, v.Image = text(cluster, "spec", "imageName"), text(cluster, "status", "image")
		major, _, _ := unstructured.NestedInt64(cluster.Object, "status", "pgDataImageInfo", "majorVersion")
		v.Major = strconv.FormatInt(major, 10)
		v.Reason = text(cluster, "status", "phase")
		if reason := text(cluster, "status", "phaseReason"); reason != "" {
			v.Reason += ": " + reason
		}
		v.Held = heldBy(cluster.GetAnnotations())
	}
	for _, p := range podList {
		if p.GetLabels()[roleLabel] == upgradeRole {
			continue // see raisingOf
		}
		if _, isNode := p.GetLabels()["cnpg.io/instanceName"]; isNode && p.GetLabels()["cnpg.io/podRole"] != "job" {
			v.Nodes = append(v.Nodes, lookPod(p))
		} else if t := troubleOf(p); t != "" { // a job that is to make one
			v.Nodes = append(v.Nodes, pod{Name: p.GetName(), Trouble: t})
		}
	}
	v.Jobs, v.Raising = jobsOf(podList), raisingOf(podList)
	slices.SortFunc(v.Nodes, func(a, b pod) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range claimList {
		v.Volumes = append(v.Volumes, lookVolume(c))
	}
	return v
}

// heldBy is the annotation of a Cluster by which somebody has put it to sleep, or has fenced nodes of it. Both are done
// by commands of the operator's own, on purpose, and whoever has done so undoes it.
func heldBy(annotations map[string]string) string {
	if annotations["cnpg.io/hibernation"] == "on" {
		return "cnpg.io/hibernation"
	}
	if fenced := annotations["cnpg.io/fencedInstances"]; fenced != "" && fenced != "[]" {
		return "cnpg.io/fencedInstances"
	}
	return ""
}

func lookVolume(o *unstructured.Unstructured) volume {
	v := volume{Name: o.GetName()}
	if q, err := resource.ParseQuantity(text(o, "status", "capacity", "storage")); err == nil {
		v.Size = backstay.Bytes(q.Value())
	}
	for _, c := range mapsOf(o, "status", "conditions") {
		kind := fmt.Sprint(c["type"])
		if strings.HasSuffix(kind, "ResizeError") && c["status"] == "True" {
			v.Trouble = fmt.Sprintf("The volume %s does not become larger: %s.", o.GetName(), trimmed(c["message"]))
		}
	}
	return v
}

// hasRoom tells whether every volume has at least that size. The operator says that all is well as soon as it has asked
// for it.
func (v view) hasRoom(size backstay.Bytes) bool {
	return !slices.ContainsFunc(v.Volumes, func(one volume) bool { return one.Size < size })
}

func lookPod(o *unstructured.Unstructured) pod {
	p := pod{Name: o.GetName(), ID: string(o.GetUID()), Trouble: troubleOf(o)}
	p.Lacking = slices.ContainsFunc(waitingIn(o), func(w waiting) bool { return w.lacksImage() })
	p.Ready = hasCondition(o, "Ready") && o.GetDeletionTimestamp() == nil
	p.Reads = o.GetLabels()[readsLabel] == labelled
	for _, c := range mapsOf(o, "spec", "containers") {
		if c["name"] == "postgres" {
			p.Image, _ = c["image"].(string)
			p.Memory, _, _ = unstructured.NestedString(c, "resources", "limits", "memory")
		}
	}
	return p
}

// troubleOf says why a pod does not start, as far as users and operators can do something about it.
func troubleOf(o *unstructured.Unstructured) string {
	for _, c := range mapsOf(o, "status", "conditions") {
		if c["type"] == "PodScheduled" && c["reason"] == "Unschedulable" {
			return fmt.Sprintf("Kubernetes has no room for the node %s now: %s.", o.GetName(), trimmed(c["message"]))
		}
	}
	for _, w := range waitingIn(o) {
		switch {
		case w.lacksImage():
			return fmt.Sprintf("Kubernetes has not got the image %s of the node %s.", w.image, o.GetName())
		case w.reason == "CreateContainerConfigError" || w.reason == "CreateContainerError":
			return fmt.Sprintf("The node %s does not start: %s.", o.GetName(), trimmed(w.message))
		}
	}
	return ""
}

// waiting is a container of a pod that has not started.
type waiting struct{ image, reason, message string }

func waitingIn(o *unstructured.Unstructured) (all []waiting) {
	for _, field := range []string{"initContainerStatuses", "containerStatuses"} {
		for _, c := range mapsOf(o, "status", field) {
			reason, _, _ := unstructured.NestedString(c, "state", "waiting", "reason")
			message, _, _ := unstructured.NestedString(c, "state", "waiting", "message")
			if reason != "" {
				all = append(all, waiting{image: fmt.Sprint(c["image"]), reason: reason, message: message})
			}
		}
	}
	return all
}

func (w waiting) lacksImage() bool {
	return slices.Contains([]string{"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName"}, w.reason)
}

func trimmed(message any) string { return strings.TrimRight(fmt.Sprint(message), ". ") }

func hasCondition(o *unstructured.Unstructured, kind string) bool {
	return slices.ContainsFunc(mapsOf(o, "status", "conditions"), func(c map[string]any) bool {
		return c["type"] == kind && c["status"] == "True"
	})
}

func text(o *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, path...)
	return s
}

func mapsOf(o *unstructured.Unstructured, path ...string) (all []map[string]any) {
	list, _, _ := unstructured.NestedSlice(o.Object, path...)
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

// trouble is the first one of the nodes, or of the volumes.
func (v view) trouble() string {
	for _, p := range v.Nodes {
		if p.Trouble != "" {
			return p.Trouble
		}
	}
	for _, one := range v.Volumes {
		if one.Trouble != "" {
			return one.Trouble
		}
	}
	return ""
}

// includes tells whether what there is has all that is wanted, whatever it has besides.
func includes(there, wanted any) bool {
	switch w := wanted.(type) {
	case map[string]any:
		h, ok := there.(map[string]any)
		if !ok {
			return false
		}
		for name, value := range w {
			if !includes(h[name], value) {
				return false
			}
		}
		return true
	case []any:
		h, ok := there.([]any)
		if !ok || len(h) != len(w) {
			return false
		}
		for i := range w {
			if !includes(h[i], w[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(there, wanted)
}

// drifted tells whether an object that is there differs in something that is wanted of it.
func drifted(there, wanted *unstructured.Unstructured) bool {
	if there == nil {
		return true
	}
	for name, value := range wanted.Object {
		switch name {
		case "apiVersion", "kind":
		case "metadata":
			if !includes(labelsOf(there.GetLabels()), labelsOf(wanted.GetLabels())) ||
				!includes(labelsOf(there.GetAnnotations()), labelsOf(wanted.GetAnnotations())) {
				return true
			}
		default:
			if !includes(there.Object[name], value) {
				return true
			}
		}
	}
	// What is wanted no longer, and is still there, server-side apply takes away: of these parts we own all.
	if wanted.GetKind() == "Cluster" {
		return !sameKeys(there, wanted, "spec", "postgresql", "synchronous") || !sameKeys(there, wanted, "spec", "backup")
	}
	return false
}

func sameKeys(a, b *unstructured.Unstructured, path ...string) bool {
	_, there, _ := unstructured.NestedMap(a.Object, path...)
	_, wanted, _ := unstructured.NestedMap(b.Object, path...)
	return there == wanted
}

func labelsOf(m map[string]string) map[string]any {
	all := map[string]any{}
	for name, value := range m {
		all[name] = value
	}
	return all
}
