package kubernetes

import (
	"encoding/base64"
	"maps"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// wish is all that decides about what an instance consists of.
type wish struct {
	namespace    string
	operator     string // the namespace of the operator, which asks the nodes how they are
	spec         backend.Spec
	image        Image
	storageClass string
	hosting      engine.Hosting
	memory       backstay.Bytes // of a node
	spread       bool           // see record
	restarts     int64          // see record
	port         int            // see record
	host         string         // see record; neither it nor port: the service inside the cluster is all there is
	reads        reading        // see record
	annotations  map[string]string
	repository   *Repository
	line         string  // of the archive
	bring        *origin // see record
	unarchived   bool    // nothing is archived: an upgrade goes on, and what comes behind is of another server
}

// objects are what an instance consists of, in the order in which they are to be there. The record is not among them.
func (w wish) objects() []*unstructured.Unstructured {
	all := []*unstructured.Unstructured{w.policy()}
	if !w.spec.Private {
		all = append(all, w.certificate(), w.authority())
	}
	if w.stores() {
		all = append(all, w.opener())
	}
	all = append(all, w.cluster())
	if (w.port > 0 || w.host != "") && !w.spec.Private {
		all = append(all, w.endpoint())
	}
	if w.reads.Given && !w.spec.Private {
		all = append(all, w.readService())
	}
	return all
}

func (w wish) new(version, kind, suffix string) *unstructured.Unstructured {
	return newObject(version, kind, w.namespace, nameOf(w.spec.Instance)+suffix, w.spec.Instance)
}

// reloaded is the label by which the operator has its nodes take up a Secret that has changed.
const reloaded = "cnpg.io/reload"

func (w wish) secret(suffix, kind string, data map[string]string) *unstructured.Unstructured {
	o := w.new("v1", "Secret", suffix)
	labels := o.GetLabels()
	labels[reloaded] = "true"
	o.SetLabels(labels)
	encoded := map[string]any{}
	for name, value := range data {
		encoded[name] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	o.Object["type"], o.Object["data"] = kind, encoded
	return o
}

func (w wish) certificate() *unstructured.Unstructured {
	return w.secret("-tls", "kubernetes.io/tls", map[string]string{
		"tls.crt": w.spec.TLS.Leaf, "tls.key": w.spec.TLS.Key.Reveal(),
	})
}

// authority must not be called NAME-ca: that is the operator's own.
func (w wish) authority() *unstructured.Unstructured {
	return w.secret("-authority", "Opaque", map[string]string{"ca.crt": w.spec.TLS.Authority})
}

// published is the annotation by which external-dns knows the name that is to lead to a service.
const published = "external-dns.alpha.kubernetes.io/hostname"

// endpoint is a service of our own, since the operator overwrites the port of one that it is asked for.
func (w wish) endpoint() *unstructured.Unstructured {
	o, kind := w.new("v1", "Service", "-endpoint"), "NodePort"
	port := map[string]any{
		"name": "postgres", "protocol": "TCP", "port": int64(serverPort), "targetPort": int64(serverPort),
	}
	if w.host != "" {
		kind = "LoadBalancer"
		annotations := map[string]string{published: w.host}
		maps.Copy(annotations, w.annotations)
		o.SetAnnotations(annotations)
	} else {
		port["nodePort"] = int64(w.port)
	}
	o.Object["spec"] = map[string]any{
		"type": kind, "externalTrafficPolicy": "Cluster", // which refuses at once while there is no primary
		"selector": map[string]any{clusterLabel: nameOf(w.spec.Instance), "cnpg.io/instanceRole": "primary"},
		"ports":    []any{port},
	}
	return o
}

// policy admits clients to the server alone. Whoever watches over the nodes reaches them otherwise too, and so do they
// each other.
func (w wish) policy() *unstructured.Unstructured {
	o := w.new("networking.k8s.io/v1", "NetworkPolicy", "")
	own := map[string]any{"matchLabels": map[string]any{clusterLabel: nameOf(w.spec.Instance)}}
	operator := map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": w.operator}}
	o.Object["spec"] = map[string]any{
		"podSelector": own, "policyTypes": []any{"Ingress"},
		"ingress": []any{
			map[string]any{"ports": []any{map[string]any{"port": int64(serverPort), "protocol": "TCP"}}},
			map[string]any{"from": []any{
				map[string]any{"podSelector": own}, map[string]any{"namespaceSelector": operator},
			}},
		},
	}
	return o
}

func (w wish) cluster() *unstructured.Unstructured {
	s, count := w.spec, int64(w.spec.AllNodes())
	o := w.new("postgresql.cnpg.io/v1", "Cluster", "")
	if w.restarts > 0 {
		o.SetAnnotations(map[string]string{restartedAt: strconv.FormatInt(w.restarts, 10)})
	}
	spec := map[string]any{
		"instances": count, "imageName": w.image.Name, "imagePullPolicy": "IfNotPresent",
		"enableSuperuserAccess": true,
		// With the default a planned restart leaves old sessions alone and refuses new ones for three minutes.
		"smartShutdownTimeout": int64(1), "stopDelay": int64(30), "switchoverDelay": int64(30),
		"primaryUpdateMethod": "restart", "primaryUpdateStrategy": "unsupervised",
		"probes": map[string]any{
			"startup": map[string]any{
				"periodSeconds": int64(1), "timeoutSeconds": int64(5), "failureThreshold": int64(3600),
			},
			"readiness": map[string]any{"periodSeconds": int64(1)},
		},
		"storage":    w.storage(),
		"resources":  w.resources(),
		"affinity":   w.affinity(),
		"postgresql": w.postgresql(),
		// Of one node it would keep the machine from being emptied for ever.
		"enablePDB": count > 1,
	}
	if !s.Private {
		spec["certificates"] = map[string]any{
			"serverTLSSecret": nameOf(s.Instance) + "-tls", "serverCASecret": nameOf(s.Instance) + "-authority",
		}
	}
	w.begin(spec)
	w.archive(spec)
	o.Object["spec"] = spec
	return o
}

func (w wish) storage() map[string]any {
	storage := map[string]any{"size": quantity(w.spec.Size.Storage)}
	if w.storageClass != "" {
		storage["storageClass"] = w.storageClass
	}
	return storage
}

// resources have a node have its memory for itself, and take what there is of processors.
func (w wish) resources() map[string]any {
	memory := quantity(w.memory)
	return map[string]any{
		"requests": map[string]any{"memory": memory, "cpu": "50m"}, "limits": map[string]any{"memory": memory},
	}
}

func (w wish) affinity() map[string]any {
	kind := "preferred"
	if w.spread {
		kind = "required"
	}
	return map[string]any{
		"enablePodAntiAffinity": true, "podAntiAffinityType": kind, "topologyKey": "kubernetes.io/hostname",
	}
}

// postgresql has a commit wait for a second node wherever there is one, and never go on without: the operator makes any
// node the primary that is left, also one that lacks what was acknowledged meanwhile. See
// docs/decisions/commits-on-kubernetes-wait.md.
func (w wish) postgresql() map[string]any {
	parameters := map[string]any{}
	for name, value := range w.hosting.Parameters {
		parameters[name] = value
	}
	p := map[string]any{
		"parameters": parameters, "pg_hba": list(w.hosting.Rules),
		"shared_preload_libraries": list(w.hosting.Libraries),
	}
	if w.spec.AllNodes() > 1 {
		p["synchronous"] = map[string]any{
			"method": "any", "number": int64(1), "dataDurability": "required", "failoverQuorum": true,
		}
	}
	return p
}

func list(texts []string) []any {
	all := make([]any, len(texts))
	for i, text := range texts {
		all[i] = text
	}
	return all
}

// quantity is a size as Kubernetes writes it. Plans count in powers of two.
func quantity(b backstay.Bytes) string { return strconv.FormatInt(int64(b/backstay.MB), 10) + "Mi" }
