package kubernetes_test

import (
	"strings"
	"testing"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/internal/kubetest"
	"github.com/backstay/backstay/internal/testkit"
)

// TestExamine: doctor says what is missing, and what to apply.
func TestExamine(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	l := newLab(t)
	whole := l.config(t, 30220, 30223)
	bare := newLabOn(t, kubetest.Shared(t), 1).config(t, 30220, 30223)
	away := whole
	away.Client = dynamic.NewForConfigOrDie(&rest.Config{Host: "https://127.0.0.1:1"})
	stranger := whole
	stranger.Namespace = "default"
	wrong := whole
	wrong.StorageClass, wrong.OperatorNamespace, wrong.Images = "gold", l.namespace, nil
	backedUp, unstored := whole, whole
	_, repository := l.store(t)
	backedUp.Repository = repository
	gone := *repository
	gone.Bucket = "nothing"
	unstored.Repository = &gone
	for name, tc := range map[string]struct {
		c    kubernetes.Config
		what string
		want kubernetes.Level
		says string // in the state, or in the remedy
	}{
		"reached":           {whole, "cluster", kubernetes.Good, "answers"},
		"rights":            {whole, "namespace " + l.namespace, kubernetes.Good, "may do"},
		"operator":          {whole, "CloudNativePG", kubernetes.Good, kubernetes.Operator + "."},
		"class":             {whole, "storage class", kubernetes.Fair, "cannot grow"},
		"machines":          {whole, "machines", kubernetes.Good, "3 take instances"},
		"images":            {whole, "images", kubernetes.Good, "15.20 as backstay.test/postgresql:15.20"},
		"addresses":         {whole, "addresses", kubernetes.Good, "30220 to 30223"},
		"not reached":       {away, "cluster", kubernetes.Lacking, "does not answer"},
		"no rights":         {stranger, "namespace default", kubernetes.Lacking, "create clusters"},
		"what to apply":     {stranger, "namespace default", kubernetes.Lacking, "Role of docs/kubernetes.md"},
		"no other class":    {wrong, "storage class", kubernetes.Lacking, `no "gold"`},
		"no operator there": {wrong, "CloudNativePG", kubernetes.Lacking, "does not run in the namespace"},
		"unseen operator":   {bare, "CloudNativePG", kubernetes.Fair, "cannot tell which version"},
		"no images":         {wrong, "images", kubernetes.Lacking, "nothing is on sale"},
		"unseen class":      {bare, "storage class", kubernetes.Fair, "ClusterRole"},
		"no store":          {whole, "backups", kubernetes.Fair, "--kubernetes-repository-endpoint"},
		"a store":           {backedUp, "backups", kubernetes.Good, "bucket backups"},
		"no bucket":         {unstored, "backups", kubernetes.Fair, "bucket nothing: "},
		"unseen machines":   {bare, "machines", kubernetes.Fair, "ClusterRole"},
	} {
		found := false
		for _, f := range kubernetes.New(tc.c).Examine(t.Context()) {
			if f.What == tc.what {
				found = true
				if f.Level != tc.want || !strings.Contains(f.State+f.Remedy, tc.says) {
					t.Errorf("%s: %+v, want %q", name, f, tc.says)
				}
			}
		}
		if !found {
			t.Errorf("%s: nothing is said of %s", name, tc.what)
		}
	}
}
