package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/internal/kubetest"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
)

// overlay is what a test has besides the manifests: a cluster without a registry runs our program out of a directory of
// its machines, in an image with the libraries that it takes, and users come by a port of the machines.
const overlay = `
resources: [../base]
images: [{name: registry.example/backstay, newName: %[1]s, newTag: %[2]q}]
patches:
- target: {kind: Deployment, name: backstay}
  patch: |
    - {op: add, path: /spec/template/spec/volumes/-, value: {name: program, hostPath: {path: %[3]s, type: File}}}
    - {op: add, path: /spec/template/spec/containers/0/volumeMounts/-,
       value: {name: program, mountPath: /usr/local/bin/backstay, readOnly: true}}
    - {op: add, path: /spec/template/spec/containers/0/imagePullPolicy, value: IfNotPresent}
- target: {kind: Cluster, name: backstay-state}
  patch: |
    - {op: add, path: /spec/imageName, value: "%[1]s:%[2]s"}
    - {op: add, path: /spec/imagePullPolicy, value: IfNotPresent}
- target: {kind: Service, name: backstay}
  patch: |
    - {op: add, path: /spec/type, value: NodePort}
    - {op: add, path: /spec/ports/0/nodePort, value: %[4]d}
`

// inside is a Backstay that runs in the cluster, and somebody outside of it who uses cf.
type inside struct {
	t       *testing.T
	cluster *kubetest.Cluster
	env     []string // of the user's programs
}

// TestKubernetesServe runs Backstay itself in the cluster, as docs/kubernetes.md tells and with the manifests that we
// have for it, and kills it while it makes an instance.
func TestKubernetesServe(t *testing.T) {
	t.Parallel()
	in := serveInside(t)
	for _, line := range []string{"create-org inside", "create-space dev -o inside", "target -o inside -s dev",
		"create-app my-app", "create-service postgres Free my-pg --wait", "bind-service my-app my-pg --wait"} {
		in.cf(strings.Fields(line)...)
	}
	in.query("create table things (id int)")

	in.cf("create-service", "postgres", "Free", "another")
	in.kubectl("delete", "pod", "-l", "app.kubernetes.io/name=backstay", "--grace-period=0", "--force")
	begun := time.Now()
	in.await("create succeeded", "service", "another")
	t.Logf("an instance is there %s after its Backstay was killed", time.Since(begun).Round(time.Second))
	in.query("insert into things values (1)")

	in.cf("unbind-service", "my-app", "my-pg", "--wait")
	in.cf("delete-service", "my-pg", "-f", "--wait")
	in.cf("delete-service", "another", "-f", "--wait")
	left := in.cluster.Kubectl(t, "get", "clusters.postgresql.cnpg.io,secrets,services,pvc,networkpolicies", "-o", "name",
		"-n", "backstay-services")
	if strings.Contains(left, "/bs-") {
		t.Errorf("of deleted instances is left:\n%s", left)
	}
	account := []string{"auth", "can-i", "--list", "--as=system:serviceaccount:backstay:backstay"}
	if may := in.kubectl(account...); regexp.MustCompile("secrets|clusters").MatchString(may) {
		t.Errorf("in its own namespace Backstay may do\n%s", may)
	}
}

// serveInside applies the manifests, with what is ours to say, and logs in as somebody outside.
func serveInside(t *testing.T) *inside {
	cluster := kubetest.Shared(t)
	const port = 30990
	images := cluster.PostgreSQL(t, "15")
	dir := testkit.Dir(t)
	base := filepath.Join(dir, "base")
	if err := os.CopyFS(base, os.DirFS(filepath.Join(repository, "deploy", "kubernetes"))); err != nil {
		t.Fatal(err)
	}
	settings, err := os.ReadFile(filepath.Join(base, "settings.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://10.88.0.1:%d", port)
	for name, value := range map[string]string{"url": url, "kubernetes-images": "[" + strings.Join(images, ", ") + "]"} {
		settings = regexp.MustCompile("(?m)^"+name+": .*$").ReplaceAll(settings, []byte(name+": "+value))
	}
	image, version, _ := strings.Cut(images[0], ":")
	own := fmt.Sprintf(overlay, image, version, filepath.Join(built, "backstay"), port)
	err = errors.Join(os.WriteFile(filepath.Join(base, "settings.yaml"), settings, 0o644),
		os.Mkdir(filepath.Join(dir, "own"), 0o755),
		os.WriteFile(filepath.Join(dir, "own", "kustomization.yaml"), []byte(own), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	in := &inside{t: t, cluster: cluster, env: append(os.Environ(), "CF_HOME="+dir, "HOME="+dir,
		"PATH="+programsInside(t, cluster)+":"+os.Getenv("PATH"))}
	begun := time.Now()
	cluster.Kubectl(t, "apply", "--server-side", "-k", filepath.Join(dir, "own"))
	t.Cleanup(func() { cluster.Kubectl(t, "delete", "-k", filepath.Join(dir, "own"), "--wait=false") })
	in.kubectl("rollout", "status", "deployment/backstay", "--timeout=3m")
	t.Logf("Backstay serves in the cluster %s after the manifests were applied", time.Since(begun).Round(time.Second))
	password := in.kubectl("exec", "deployment/backstay", "--", "/usr/local/bin/backstay", "admin-password",
		"--config", "/etc/backstay/settings.yaml")
	in.cf("api", url)
	in.cf("auth", "admin", strings.TrimSpace(password))
	return in
}

// kubectl is that of the cluster's administrator, where Backstay is.
func (in *inside) kubectl(words ...string) string {
	in.t.Helper()
	out := in.cluster.Kubectl(in.t, append([]string{"-n", "backstay"}, words...)...)
	if in.t.Failed() {
		in.t.Log(out)
	}
	return out
}

// run runs a program of a user's, who reaches the machines of the cluster.
func (in *inside) run(words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(in.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "env", words...)
	cmd.Env = in.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (in *inside) cf(words ...string) {
	in.t.Helper()
	if out, err := in.run(append([]string{"cf"}, words...)...); err != nil {
		in.t.Fatalf("cf %s: %v\n%s\n%s", words[0], err, out, in.kubectl("logs", "deployment/backstay"))
	}
}

// await asks cf until it says what is wanted. Nobody may answer for a while.
func (in *inside) await(wanted string, words ...string) {
	in.t.Helper()
	ctx, cancel := context.WithTimeout(in.t.Context(), 3*time.Minute)
	defer cancel()
	err := wait.Until(ctx, wait.Every(time.Second), func() (bool, error) {
		out, err := in.run(append([]string{"cf"}, words...)...)
		if err != nil || !strings.Contains(out, wanted) {
			return !strings.Contains(out, "failed"), errors.New(out)
		}
		return false, nil
	})
	if err != nil {
		in.t.Fatalf("cf %s does not say %q: %v\n%s", words[0], wanted, err, in.kubectl("logs", "deployment/backstay"))
	}
}

// query has a statement be executed by the app, in the cluster: it knows the server by its name and its authority.
func (in *inside) query(statement string) {
	in.t.Helper()
	out, err := in.run("backstay", "run", "my-app", "--", "printenv", "VCAP_SERVICES")
	var services map[string][]struct {
		Credentials struct {
			URI         string `json:"uri"`
			Host        string `json:"host"`
			Certificate string `json:"ca_certificate"`
		}
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &services)
	}
	if err != nil || len(services["postgres"]) != 1 {
		in.t.Fatalf("the app's services: %v\n%s", err, out)
	}
	c := services["postgres"][0].Credentials
	if !strings.HasSuffix(c.Host, ".backstay-services.svc") {
		in.t.Errorf("credentials name the host %q", c.Host)
	}
	config, err := pgx.ParseConfig(c.URI)
	if err != nil {
		in.t.Fatal(err)
	}
	authority := x509.NewCertPool()
	authority.AppendCertsFromPEM([]byte(c.Certificate))
	config.TLSConfig = &tls.Config{RootCAs: authority, ServerName: c.Host}
	config.Fallbacks = nil
	config.DialFunc = in.cluster.Dial
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	connection, err := pgx.ConnectConfig(in.t.Context(), config)
	if err != nil {
		in.t.Fatal(err)
	}
	defer connection.Close(in.t.Context())
	if _, err := connection.Exec(in.t.Context(), statement); err != nil {
		in.t.Errorf("%s: %v", statement, err)
	}
}
