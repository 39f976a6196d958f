package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/kubetest"
	"github.com/backstay/backstay/internal/testkit"
)

// onKubernetesToo matches what journeys say that also run in a cluster, or only there, whether their instances are
// backed up then, and whether some runs alone try them there.
var onKubernetesToo = regexp.MustCompile("(?m)^# (?:also|only) on kubernetes(, backed up)?(, in some runs)?$")

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
		said := onKubernetesToo.FindSubmatch(text)
		if said == nil {
			continue
		}
		backedUp, drawn := len(said[1]) > 0, len(said[2]) > 0
		ports := fmt.Sprintf("%d-%d", 30000+50*next, 30049+50*next)
		next++
		t.Run(strings.TrimSuffix(script, ".txtar"), func(t *testing.T) {
			if drawn {
				testkit.InSomeRuns(t)
			}
			t.Parallel()
			at := onKubernetes(t, cluster, ports, backedUp, bytes.Contains(text, []byte("# needs postgres-17\n")))
			runScript(t, script, filepath.Join(repository, "bin"), at)
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
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Fatal(err)
	}
	programs := map[string]string{
		"backstay": inside + filepath.Join(built, "backstay"), "cf": inside + filepath.Join(repository, "bin", "cf"),
		"kubectl": inside + cluster.Program("kubernetes") + " kubectl",
		"psql":    inside + psql, // for who has an address, and no app
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
func onKubernetes(t *testing.T, cluster *kubetest.Cluster, ports string, backedUp, newer bool) place {
	namespace, images := cluster.Namespace(t), cluster.PostgreSQL(t, "15")
	all := images
	if newer {
		all = slices.Concat(images, cluster.PostgreSQL(t, "17"))
	}
	settings := []setting{
		{"catalog", kubernetesCatalog(t, backedUp)}, {"kubeconfig", cluster.Kubeconfig()},
		{"kubernetes-namespace", namespace}, {"kubernetes-storage-class", "local-path"},
		{"kubernetes-images", strings.Join(all, ",")},
		{"kubernetes-node-host", "10.88.0.1"}, {"kubernetes-node-ports", ports},
	}
	store := ""
	if backedUp {
		its, dir := kubernetesStore(t, cluster)
		settings, store = append(settings, its...), dir
	}
	return place{
		programs: programsInside(t, cluster),
		client:   &http.Client{Transport: &http.Transport{DialContext: cluster.Dial}},
		settings: settings,
		env: map[string]string{
			"NAMESPACE": namespace, "STORE": store, "KUBECONFIG": cluster.Kubeconfig(), "HOST": "10.88.0.1",
			"OLDER_IMAGE": images[0], "IMAGES": strings.Join(images, ","),
			"OLDER": tag(images[0]), "NEW": tag(images[len(images)-1]),
		},
		patience: 5 * time.Minute,
	}
}

// tag is the full version that an image is of.
func tag(image string) string { return image[strings.LastIndexByte(image, ':')+1:] }

// kubernetesStore is an object store for the backups of a platform's instances in the cluster. It is reached in the same
// way by pods and by the platform, which is in the cluster's network. What is in it lies in a directory.
func kubernetesStore(t *testing.T, cluster *kubetest.Cluster) (all []setting, dir string) {
	o := testkit.ObjectStore(t)
	secret := filepath.Join(testkit.Dir(t), "secret-key")
	if err := os.WriteFile(secret, []byte(o.SecretKey.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	return []setting{
		{"kubernetes-repository-endpoint", cluster.Listen(t, o.Endpoint)},
		{"kubernetes-repository-bucket", o.Bucket}, {"kubernetes-repository-access-key", o.AccessKey},
		{"kubernetes-repository-secret-key-file", secret}, {"kubernetes-repository-authority", o.Authority},
	}, o.Dir
}

// kubernetesCatalog is the default catalog, with PostgreSQL on Kubernetes. All of its plans have the same storage there:
// the volumes of the test's cluster cannot grow.
func kubernetesCatalog(t *testing.T, backedUp bool) string {
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
	here := "    backend: kubernetes\n"
	if !backedUp {
		here += "    backups: 0\n"
	}
	there := before + engine + here + its + "\n  - id: " + after
	if err := os.WriteFile(file, []byte(there), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
