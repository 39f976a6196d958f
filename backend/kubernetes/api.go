package kubernetes

import (
	"context"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/backstay/backstay"
)

// answerLimit is how long the Kubernetes cluster may take to answer.
const answerLimit = 10 * time.Second

func (b *Backend) in(resource schema.GroupVersionResource) dynamic.ResourceInterface {
	return b.Client.Resource(resource).Namespace(b.Namespace)
}

// apply puts an object in force as it is wanted, whoever has changed it.
func (b *Backend) apply(ctx context.Context, o *unstructured.Unstructured, dry bool) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	options := metav1.ApplyOptions{FieldManager: manager, Force: true}
	if dry {
		options.DryRun = []string{metav1.DryRunAll}
	}
	_, err := b.in(kinds[o.GetKind()]).Apply(ctx, o.GetName(), o, options)
	return classified(err)
}

// remove has an object be deleted. One that is not there is.
func (b *Backend) remove(ctx context.Context, resource schema.GroupVersionResource, name string) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	background := metav1.DeletePropagationBackground
	err := b.in(resource).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &background})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return classified(err)
}

// get is nil where there is no such object.
func (b *Backend) get(
	ctx context.Context, resource schema.GroupVersionResource, name string,
) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	o, err := b.in(resource).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return o, classified(err)
}

// list asks the cluster itself, where what was watched may be late.
func (b *Backend) list(
	ctx context.Context, resource schema.GroupVersionResource, selector string,
) ([]unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	all, err := b.in(resource).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, classified(err)
	}
	return all.Items, nil
}

// classified is what the cluster says as an error of ours. What it refuses as it is, it refuses for good.
func classified(err error) error {
	switch {
	case err == nil:
		return nil
	case isTaken(err):
		return errTaken
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || isDenied(err):
		return backstay.Wrapf(err, backstay.Unsupported, "Kubernetes refuses it: %s.", trimmed(err))
	case apierrors.IsForbidden(err):
		return backstay.Wrapf(err, backstay.Unavailable, "Kubernetes does not let Backstay do it: %s.", trimmed(err))
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		return backstay.Wrapf(err, backstay.Busy, "Somebody else has just changed it.")
	case isUnguarded(err):
		return backstay.Wrapf(err, backstay.Unavailable, "CloudNativePG does not answer the Kubernetes cluster.")
	case apierrors.IsNotFound(err):
		return backstay.Wrapf(err, backstay.Unavailable,
			"The Kubernetes cluster has no CloudNativePG, or not the namespace for service instances.")
	}
	return backstay.Wrapf(err, backstay.Unavailable, "The Kubernetes cluster does not answer.")
}

// isAnother tells whether an object is no more, or another one by now.
func isAnother(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) }

// errTaken is of a port that something else in the cluster has.
var errTaken = backstay.Errorf(backstay.Unavailable,
	"Something else in the Kubernetes cluster has the port of the service instance.")

func isTaken(err error) bool {
	return apierrors.IsInvalid(err) && strings.Contains(err.Error(), "port is already allocated")
}

// isDenied tells whether an admission webhook has refused an object.
func isDenied(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "admission webhook")
}

// isUnguarded tells whether the cluster takes no object, because who is to look at it first does not answer: nobody but
// the operator has a webhook for what is its own.
func isUnguarded(err error) bool {
	return apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook")
}

// isFinal tells whether only another Spec can help.
func isFinal(err error) bool {
	kind := backstay.KindOf(err)
	return kind == backstay.Unsupported || kind == backstay.Invalid
}
