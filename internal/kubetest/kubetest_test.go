package kubetest_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay/internal/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Run(m)) }

// TestByHand keeps a cluster for somebody to try things, until it is interrupted: make kubernetes-up.
func TestByHand(t *testing.T) {
	if os.Getenv("BACKSTAY_TEST_KUBERNETES_BY_HAND") == "" {
		t.Skip("make kubernetes-up runs this.")
	}
	c := kubetest.Shared(t)
	fmt.Fprintf(os.Stderr, "\nThe cluster is there until you type ^C. Its programs see its network after\n\n\t%s\n\n",
		byHand(t, c))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	<-ctx.Done()
}

// byHand is what to type for a shell in the cluster's network.
func byHand(t *testing.T, c *kubetest.Cluster) string {
	t.Helper()
	var network string
	err := c.Enter(func() (err error) {
		network, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range processes {
		if name, err := os.Readlink(file); err == nil && name == network {
			return fmt.Sprintf("nsenter --net=%s env KUBECONFIG=%s PATH=$PATH:%s bash   # kubernetes kubectl get nodes",
				file, c.Kubeconfig(), filepath.Join(os.Getenv("BACKSTAY_TEST_KUBERNETES"), "bin"))
		}
	}
	t.Fatal("no process is in the cluster's network")
	return ""
}
