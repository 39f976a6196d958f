package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/kubetest"
	"github.com/backstay/backstay/internal/testkit"
)

// TestKubernetesScripts runs those journeys that say "# also on kubernetes", or "# only", with the PostgreSQL of the
// default catalog in a cluster.
func TestKubernetesScripts(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Shared(t)
	scripts, err := filepath.Glob("*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile("(?m)^# (also|only) on kubernetes$").Match(text) {
			continue
		}
		ports := fmt.Sprintf("%d-%d", 30000+50*next, 30049+50*next)
		next++
		t.Run(strings.TrimSuffix(script, ".txtar"), func(t *testing.T) {
			t.Parallel()
			runScript(t, script, filepath.Join(repository, "bin"), onKubernetes(t, cluster, ports))
		})
	}
	if next == 0 {
		t.Error("no journey is also on Kubernetes")
	}
}

// programsInside is a directory of programs that run in the cluster's network.
func programsInside(t *testing.T, cluster *kubetest.Cluster) string {
	dir := testkit.Dir(t)
	inside := "exec nsenter --net=" + cluster.Network() + " "
	programs := map[string]string{
		"backstay": inside + filepath.Join(built, "backstay"), "cf": inside + filepath.Join(repository, "bin", "cf"),
		"kubectl": inside + cluster.Program("kubernetes") + " kubectl",
	}
	for name, command := range programs {
		text := "#!/bin/sh\n" + command + ` "$@"` + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// onKubernetes has a platform keep PostgreSQL in a namespace of the cluster. The programs of its users run in the
// cluster's network, where the ports of nodes are.
func onKubernetes(t *testing.T, cluster *kubetest.Cluster, ports string) place {
	namespace, images := cluster.Namespace(t), cluster.PostgreSQL(t, "15")
	return place{
		programs: programsInside(t, cluster),
		client:   &http.Client{Transport: &http.Transport{DialContext: cluster.Dial}},
		flags: []string{
			"--catalog", kubernetesCatalog(t), "--kubeconfig", cluster.Kubeconfig(),
			"--kubernetes-namespace", namespace, "--kubernetes-storage-class", "local-path",
			"--kubernetes-images", strings.Join(images, ","),
			"--kubernetes-node-host", "10.88.0.1", "--kubernetes-node-ports", ports,
		},
		env: map[string]string{
			"NAMESPACE": namespace, "KUBECONFIG": cluster.Kubeconfig(), "HOST": "10.88.0.1",
			"OLDER_IMAGE": images[0], "IMAGES": strings.Join(images, ","),
			"OLDER": tag(images[0]), "NEW": tag(images[len(images)-1]),
		},
		patience: 5 * time.Minute,
	}
}

// tag is the full version that an image is of.
func tag(image string) string { return image[strings.LastIndexByte(image, ':')+1:] }

// kubernetesCatalog is the default catalog, with PostgreSQL on Kubernetes. All of its plans have the same storage there:
// the volumes of the test's cluster cannot grow.
func kubernetesCatalog(t *testing.T) string {
	text, err := os.ReadFile(filepath.Join(repository, "broker", "catalog.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const engine = "    engine: postgres\n"
	before, its, one := strings.Cut(string(text), engine)
	its, after, ends := strings.Cut(its, "\n  - id: ")
	if !one || !ends {
		t.Fatal("the default catalog does not begin with PostgreSQL")
	}
	its = regexp.MustCompile(`storage: \w+`).ReplaceAllString(its, "storage: 10GB")
	file := filepath.Join(testkit.Dir(t), "catalog.yaml")
	there := before + engine + "    backend: kubernetes\n    backups: 0\n" + its + "\n  - id: " + after
	if err := os.WriteFile(file, []byte(there), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
