package kubernetes

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backstay/backstay"
)

// Fact is one thing that Examine has looked at.
type Fact struct {
	What, State string
	Level       Level
	Remedy      string // what to type; empty when all is well
}

// Level is how a Fact is to be taken.
type Level int

const (
	Good    Level = iota
	Fair          // instances can be had, with less
	Lacking       // no instances can be had
)

const (
	page = "docs/kubernetes.md"
	// released is where the operator's manifest of the newest release is that this package was tried with.
	released = "https://raw.githubusercontent.com/cloudnative-pg/cloudnative-pg/release-1.28/releases/cnpg-1.28.0.yaml"
)

// right is what the page's Role gives for some resources.
type right struct {
	resource schema.GroupVersionResource
	part     string // of the resource; empty: all of it
	verbs    []string
}

// rights are all that a Backend does in its namespace.
var rights = []right{
	{clusters, "", []string{"get", "list", "watch", "create", "patch", "delete"}},
	{clusters, "status", []string{"patch"}},
	{backups, "", []string{"get", "list", "create", "patch", "delete"}},
	{secrets, "", []string{"get", "list", "watch", "create", "update", "patch", "delete"}},
	{services, "", []string{"get", "list", "watch", "create", "update", "patch", "delete"}},
	{configMaps, "", []string{"get", "list", "watch", "create", "update", "patch", "delete"}},
	{pods, "", []string{"get", "list", "watch", "patch", "delete"}},
	{pods, "portforward", []string{"get", "create"}},
	{pods, "log", []string{"get"}},
	{upgradeJobs, "", []string{"list", "patch", "delete"}},
	{claims, "", []string{"get", "list", "watch"}},
	{policies, "", []string{"get", "list", "watch", "create", "patch", "delete"}},
}

// Examine says for an operator what the cluster has of what instances take, also before Run, and changes nothing.
func (b *Backend) Examine(ctx context.Context) []Fact {
	if err := b.reached(ctx); err != nil {
		return []Fact{{"cluster", backstay.SentenceOf(classified(err)), Lacking, "kubectl get namespaces"}}
	}
	facts := []Fact{{"cluster", "answers", Good, ""}}
	facts = append(facts, b.examineRights(ctx), b.examineOperator(ctx), b.examineClass(ctx), b.examineNodes(ctx))
	return append(facts, b.examineImages(), b.examineExposure(), b.examineStore(ctx))
}

// reached asks what everybody may ask who may ask anything.
func (b *Backend) reached(ctx context.Context) error {
	_, err := b.allowed(ctx, clusters, "", "list")
	return err
}

var reviews = schema.GroupVersionResource{
	Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews",
}

// allowed asks the cluster whether Backstay may do something in the namespace.
func (b *Backend) allowed(ctx context.Context, r schema.GroupVersionResource, part, verb string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	asked := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
		"spec": map[string]any{"resourceAttributes": map[string]any{
			"namespace": b.Namespace, "group": r.Group, "resource": r.Resource, "subresource": part, "verb": verb,
		}},
	}}
	answer, err := b.Client.Resource(reviews).Create(ctx, asked, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	yes, _, _ := unstructured.NestedBool(answer.Object, "status", "allowed")
	return yes, nil
}

func (b *Backend) examineRights(ctx context.Context) Fact {
	what := "namespace " + b.Namespace
	var missing []string
	for _, r := range rights {
		name := strings.TrimSuffix(r.resource.Resource+"/"+r.part, "/")
		for _, verb := range r.verbs {
			yes, err := b.allowed(ctx, r.resource, r.part, verb)
			if err != nil {
				return Fact{what, "cannot tell what Backstay may do: " + trimmed(err), Fair, ""}
			}
			if !yes {
				missing = append(missing, verb+" "+name)
			}
		}
	}
	if len(missing) == 0 {
		return Fact{what, "Backstay may do there what it has to", Good, ""}
	}
	return Fact{what, "Backstay may not " + strings.Join(missing, ", "), Lacking,
		"kubectl apply -f FILE, with the Role of " + page}
}

func (b *Backend) examineOperator(ctx context.Context) Fact {
	const what = "CloudNativePG"
	install := "kubectl apply --server-side -f " + released
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	_, err := b.in(clusters).List(ctx, metav1.ListOptions{Limit: 1})
	if apierrors.IsNotFound(err) {
		return Fact{what, "is not installed", Lacking, install}
	}
	tag, runs, err := b.operator(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return Fact{what, "does not run in the namespace " + b.OperatorNamespace, Lacking,
			"backstay serve --kubernetes-operator-namespace NAME, or " + install}
	case err != nil:
		return Fact{what, "cannot tell which version it has: " + trimmed(err), Fair,
			"kubectl apply -f FILE, with the ClusterRole of " + page}
	case !strings.HasPrefix(tag, Operator+"."):
		return Fact{what, fmt.Sprintf("%s; it takes %s", tag, Operator), Lacking, install}
	case !runs:
		return Fact{what, tag + ", of which nothing runs: databases go on, and nothing can be made or changed", Lacking,
			"kubectl -n " + b.OperatorNamespace + " rollout status deployment/cnpg-controller-manager"}
	}
	return Fact{what, tag, Good, ""}
}

func (b *Backend) examineClass(ctx context.Context) Fact {
	const what = "storage class"
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	all, err := b.Client.Resource(classes).List(ctx, metav1.ListOptions{})
	if err != nil {
		return Fact{what, "cannot tell: " + trimmed(err), Fair, "kubectl apply -f FILE, with the ClusterRole of " + page}
	}
	for _, o := range all.Items {
		if !b.isClass(&o) {
			continue
		}
		if b.grows(ctx) {
			return Fact{what, o.GetName() + ", whose volumes can grow", Good, ""}
		}
		return Fact{what, o.GetName() + ", whose volumes cannot grow: no instance is given more storage", Fair, ""}
	}
	state := "there is no default one"
	if b.StorageClass != "" {
		state = fmt.Sprintf("there is no %q", b.StorageClass)
	}
	return Fact{what, state, Lacking,
		"backstay serve --kubernetes-storage-class NAME, with one of: kubectl get storageclasses"}
}

func (b *Backend) examineNodes(ctx context.Context) Fact {
	count, largest := b.machines(ctx)
	if count == 0 {
		return Fact{"machines", "none can be seen that takes instances", Fair,
			"kubectl apply -f FILE, with the ClusterRole of " + page}
	}
	told := fmt.Sprintf("%d take instances; the largest has %s of memory", count, largest.Rounded())
	return Fact{"machines", told, Good, ""}
}

func (b *Backend) examineImages() Fact {
	var all []string
	for _, i := range b.Images {
		all = append(all, fmt.Sprintf("%s as %s", i.FullVersion, i.Name))
	}
	if len(all) == 0 {
		return Fact{"images", "none: nothing is on sale", Lacking,
			"backstay serve --kubernetes-images registry.example/postgresql:15.18"}
	}
	return Fact{"images", strings.Join(all, ", "), Good, ""}
}

func (b *Backend) examineExposure() Fact {
	if b.Exposure.Domain != "" {
		return Fact{"addresses", "a load balancer each, by names in " + b.Exposure.Domain, Good, ""}
	}
	if !b.Exposure.byNode() {
		return Fact{"addresses", "names of services, which apps outside of the cluster do not know", Good, ""}
	}
	e := b.Exposure
	return Fact{"addresses", fmt.Sprintf("%s, ports %d to %d", e.Host, e.First, e.Last), Good, ""}
}

// examineStore asks the object store for what there is.
func (b *Backend) examineStore(ctx context.Context) Fact {
	const what = "backups"
	if b.Repository == nil {
		return Fact{what, "no object store: instances are not backed up", Fair,
			"backstay serve --kubernetes-repository-endpoint HOST, with the rest of " + page}
	}
	where := b.Repository.Endpoint + ", bucket " + b.Repository.Bucket
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	whole, err := b.part("")
	if err == nil {
		_, err = whole.Parts(ctx)
	}
	if err != nil {
		return Fact{what, where + ": " + trimmed(err), Fair,
			"backstay serve with --kubernetes-repository-… as the store has them"}
	}
	return Fact{what, where, Good, ""}
}
