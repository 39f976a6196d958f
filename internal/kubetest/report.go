package kubetest

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// mostReports is how many tests of a process tell what their cluster looked like when they had failed: they share it.
const mostReports = 3

var reports atomic.Int64

// reportIfFailed has a test that fails tell what the cluster looks like then, which is gone soon after.
func (c *Cluster) reportIfFailed(t testing.TB) {
	t.Cleanup(func() {
		if t.Failed() && reports.Add(1) <= mostReports {
			t.Log(c.report())
		}
	})
}

// report tells which programs have ended, and of the nodes, pods and deployments what kubectl tells.
func (c *Cluster) report() string {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var told strings.Builder
	if err := c.lives(); err != nil {
		fmt.Fprintf(&told, "a program of the cluster's has ended: %v\n", c.complaints())
	}
	for _, words := range [][]string{
		{"get", "nodes"},
		{"get", "deployments,replicasets,pods", "--all-namespaces", "-o", "wide"},
		{"describe", "pods", "-n", "cnpg-system"},
		{"logs", "-n", "cnpg-system", "deployment/cnpg-controller-manager", "--tail=30"},
	} {
		out, err := c.kubectl(ctx, "", words...)
		if err != nil {
			out = err.Error() + "\n"
		}
		fmt.Fprintf(&told, "kubectl %s\n%s", strings.Join(words, " "), out)
	}
	return told.String()
}
