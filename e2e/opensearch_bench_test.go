package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/testkit"
)

// BenchmarkCreateElasticsearch is from the API call to "succeeded" and a first document over TLS, beside what one would
// do by hand: the distribution's own script with the same heap, without TLS, users and passwords. Idle, an instance may
// hold a tenth more memory than that: its users are an index, and its TLS a front.
func BenchmarkCreateElasticsearch(b *testing.B) {
	l := house(b, opensearchBreed(b))
	// The server's command line tells the directory in which it runs, and that of the front the one of the data.
	marks := func(r *life) []string {
		return []string{r.instance, fmt.Sprintf("%s/run/%v/", r.data, r.credentials["port"])}
	}
	createBeside(b, l, opensearchByHand, marks, 1.1, 1.1)
}

// bareOpenSearch configures a server of one node that anybody may ask.
const bareOpenSearch = `
discovery.type: single-node
network.host: 127.0.0.1
http.port: %d
transport.port: 0
path.data: %s
path.logs: %s
plugins.security.disabled: true
cluster.routing.allocation.disk.threshold_enabled: false
`

// opensearchByHand starts a server as its distribution does, with the heap of the smallest plan, and writes a document.
func opensearchByHand(b *testing.B) byHandServer {
	b.Helper()
	home, dir, account := os.Getenv(opensearchVariable), testkit.Dir(b), postgresAccount(b)
	port, _ := testkit.Ports(b, 1)
	logging, err := os.ReadFile(filepath.Join(home, "config", "log4j2.properties"))
	if err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string]string{
		"opensearch.yml":    fmt.Sprintf(bareOpenSearch, port, filepath.Join(dir, "data"), filepath.Join(dir, "logs")),
		"jvm.options":       "-Xms256m\n-Xmx256m\n-Djava.security.manager=allow\n",
		"log4j2.properties": string(logging),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	if account != nil {
		if err := os.Chown(dir, int(account.Uid), int(account.Gid)); err != nil {
			b.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(home, "bin", "opensearch"))
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: account}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "OPENSEARCH_PATH_CONF=" + dir, "OPENSEARCH_TMPDIR=" + dir}
	if java, err := exec.LookPath("java"); err == nil {
		if real, err := filepath.EvalSymlinks(java); err == nil {
			cmd.Env = append(cmd.Env, "OPENSEARCH_JAVA_HOME="+filepath.Dir(filepath.Dir(real)))
		}
	}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	s := byHandServer{mark: filepath.Base(dir), stop: func() {
		err := errors.Join(cmd.Process.Kill(), cmd.Wait())
		var ended *exec.ExitError
		if err != nil && !errors.As(err, &ended) {
			b.Error(err)
		}
	}}
	document := fmt.Sprintf("http://127.0.0.1:%d/kept/_doc/1", port)
	for deadline := begun.Add(searchPatience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodPut, document, strings.NewReader(`{"n": 1}`))
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			continue
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusCreated {
			s.took = time.Since(begun)
			return s
		}
	}
	s.stop()
	b.Fatalf("OpenSearch does not serve: %s", said.String())
	return s
}
