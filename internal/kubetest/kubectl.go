package kubetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/wait"
)

// kubectl runs the genuine one, and returns what it says.
func (c *Cluster) kubectl(ctx context.Context, input string, words ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.made, "bin", "kubernetes"),
		append([]string{"kubectl", "--kubeconfig=" + c.Kubeconfig()}, words...)...)
	cmd.Env = append(os.Environ(), "HOME="+c.run) // where it keeps what it knows of the API
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &complaint
	err := c.in.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

// The operator has half a minute to start, and is killed and waited for longer each time where it is not ready by then.
// On a busy machine it gets ten minutes.
const (
	hasty   = "startupProbe:\n          failureThreshold: 6\n"
	patient = "startupProbe:\n          failureThreshold: 120\n"
)

// furnish gives a cluster what databases take: nodes that are ready, volumes, and the operator.
func (c *Cluster) furnish(ctx context.Context) error {
	shares, err := files.ReadFile("files/shares.yaml")
	if err != nil {
		return err
	}
	if _, err := c.kubectl(ctx, string(shares), "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	for _, name := range []string{"local-path", "cnpg"} {
		manifest, err := os.ReadFile(filepath.Join(c.made, "manifests", name+".yaml"))
		if err != nil {
			return err
		}
		text := strings.Replace(string(manifest), hasty, patient, 1)
		if _, err := c.kubectl(ctx, text, "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
			return err
		}
	}
	if err := c.nodesReady(ctx); err != nil {
		return err
	}
	for _, deployment := range [][]string{
		{"-n", "local-path-storage", "deployment/local-path-provisioner"},
		{"-n", "cnpg-system", "deployment/cnpg-controller-manager"},
	} {
		if _, err := c.kubectl(ctx, "", append([]string{"rollout", "status"}, deployment...)...); err != nil {
			return err
		}
	}
	return c.operatorReady(ctx)
}

// nodesReady waits until every node has said of itself that it is.
func (c *Cluster) nodesReady(ctx context.Context) error {
	return wait.Until(ctx, wait.Every(200*time.Millisecond), func() (bool, error) {
		if err := c.lives(); err != nil {
			return false, err
		}
		out, err := c.kubectl(ctx, "", "get", "nodes", "-o",
			`jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status} {end}`)
		if err != nil {
			return true, err
		}
		if strings.Count(out, "True") < len(c.nodes) {
			return true, fmt.Errorf("of %d nodes these are ready: %q", len(c.nodes), out)
		}
		return false, nil
	})
}

// operatorReady waits until the operator looks at what is applied: what it checks goes through kube-proxy to its pod.
func (c *Cluster) operatorReady(ctx context.Context) error {
	const probe = `{"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "probe"},
		"spec": {"instances": 1, "storage": {"size": "1Gi"}}}`
	return wait.Until(ctx, wait.Every(200*time.Millisecond), func() (bool, error) {
		_, err := c.kubectl(ctx, probe, "apply", "--dry-run=server", "-n", "default", "-f", "-")
		return err != nil, err
	})
}

// Images are the names of the images that every node has.
func (c *Cluster) Images() ([]string, error) {
	text, err := os.ReadFile(filepath.Join(c.made, "images"))
	return strings.Fields(string(text)), err
}

// killNode kills all that runs on a node, as a power failure does.
func (c *Cluster) killNode(ctx context.Context, node string) error {
	if err := c.group.killAll(ctx, node); err != nil {
		return err
	}
	for _, name := range []string{"containerd-" + node, "kubelet-" + node} {
		c.kill(name) // which have been killed: wait for them
	}
	return nil
}

// killAPI kills the API server and its database; what runs on the nodes runs on.
func (c *Cluster) killAPI() {
	c.kill("api")
	c.kill("etcd")
}

// killOperator kills the operator's pod; its deployment starts another one.
func (c *Cluster) killOperator(ctx context.Context) error {
	_, err := c.kubectl(ctx, "", "delete", "pod", "-n", "cnpg-system", "-l", "app.kubernetes.io/name=cloudnative-pg",
		"--grace-period=0", "--force")
	return err
}

// index is the place of a node in the list.
func (c *Cluster) index(node string) (int, error) {
	for i, name := range c.nodes {
		if name == node {
			return i, nil
		}
	}
	return 0, errors.New("there is no node " + node)
}
