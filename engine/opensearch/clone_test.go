package opensearch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/opensearch"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
)

// cloning is what who is killed is told.
type cloning struct {
	Homes    []string
	From, To engine.Node
}

// beKilledCloning clones a node, and dies as soon as the source's snapshot has been carried over.
func beKilledCloning() {
	var told cloning
	err := json.NewDecoder(os.Stdin).Decode(&told)
	if err == nil {
		step.After = func(string) {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		e := opensearch.Engine{Homes: told.Homes}
		told.From.Admin = e.LocalAdmin(told.From)
		err = e.Clone(context.Background(), told.From, told.To, func(string) {})
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// cloneAndDie leaves what a cloning of the node has left that was killed.
func cloneAndDie(t *testing.T, n, to engine.Node) {
	t.Helper()
	told, err := json.Marshal(cloning{tested.Homes, n, to})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], asCloner)
	cmd.Stdin = strings.NewReader(string(told))
	said, err := cmd.CombinedOutput()
	if cmd.ProcessState.Exited() || err == nil {
		t.Fatalf("who was to be killed was not: %v, %s", err, said)
	}
	if _, err := os.Stat(shelfOf(n)); err != nil {
		t.Fatalf("there is nothing to be swept: %v", err)
	}
}

// shelfOf is where a node's snapshot for a clone lies.
func shelfOf(n engine.Node) string { return filepath.Join(n.DataDir, "snapshots", "clone") }

func wantSwept(t *testing.T, n engine.Node, when string) {
	t.Helper()
	if _, err := os.Stat(shelfOf(n)); !os.IsNotExist(err) {
		t.Errorf("%s, the snapshot for a clone is left: %v", when, err)
	}
}

// TestKilledCloneIsSwept kills who clones a node, with the node and without: what that has left in the node goes when
// the keeper is back, or the node.
func TestKilledCloneIsSwept(t *testing.T) {
	t.Parallel()
	testkit.InSomeRuns(t)
	needOpenSearch(t)
	n, to := enginetest.NewNode(t, tested), enginetest.NewNode(t, tested)
	p := enginetest.Serve(t, tested, n)
	cloneAndDie(t, n, to)
	if restart, err := tested.Reload(t.Context(), n); err != nil || restart {
		t.Fatalf("Reload: %t, %v", restart, err)
	}
	wantSwept(t, n, "when a keeper is back")
	cloneAndDie(t, n, to)
	p.Kill(t)
	enginetest.Serve(t, tested, n)
	wantSwept(t, n, "when the node is back")
	if err := tested.Clone(t.Context(), n, to, func(string) {}); err != nil {
		t.Errorf("Clone of what knows a repository that is gone: %v", err)
	}
}

// TestClonesBesideABackup clones a full node twice at once, while it is backed up: the copies have all that there is,
// and are not full. A Reload meanwhile leaves the snapshots alone.
func TestClonesBesideABackup(t *testing.T) {
	t.Parallel()
	testkit.InSomeRuns(t)
	n, writer, _ := serving(t)
	for _, asked := range []request{
		{"PUT", "/_index_template/t",
			`{"index_patterns": ["log-*"], "template": {"settings": {"number_of_shards": 2}}}`},
		{"PUT", "/log-1/_doc/k", `{"v": "in it"}`},
		{"POST", "/_aliases", `{"actions": [{"add": {"index": "log-1", "alias": "logs"}}]}`},
		{"PUT", "/closed/_doc/k", `{"v": "closed"}`}, {"POST", "/closed/_close", ""},
	} {
		mustAsk(t, writer, asked)
	}
	if err := tested.RefuseWrites(t.Context(), n, engine.FewWrites); err != nil {
		t.Fatal(err)
	}
	repository := enginetest.NewRepository(t)
	if _, err := tested.Backup(t.Context(), n, repository, false); err != nil {
		t.Fatal(err)
	}
	copies := []engine.Node{enginetest.NewNode(t, tested), enginetest.NewNode(t, tested)}
	var all errgroup.Group
	for _, to := range copies {
		all.Go(func() error { return tested.Clone(t.Context(), n, to, func(string) {}) })
	}
	all.Go(func() error { _, err := tested.Backup(t.Context(), n, repository, false); return err })
	all.Go(func() error { _, err := tested.Reload(t.Context(), n); return err })
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	wantSwept(t, n, "after two clones")
	for _, to := range copies {
		for _, name := range []string{"snapshots", "carried"} {
			if _, err := os.Stat(filepath.Join(to.DataDir, name)); !os.IsNotExist(err) {
				t.Errorf("what was copied from is left in %s: %v", name, err)
			}
		}
		enginetest.Serve(t, tested, to)
		s := bound(t, to, engine.User{Name: "u2", Password: "anotherhorsebattery"})
		mustAsk(t, s, request{"PUT", "/log-2/_doc/k", `{"v": "goes on"}`})
		mustAsk(t, s, request{"POST", "/closed/_open", ""})
		for path, want := range map[string]string{
			"/_index_template/t": `"number_of_shards":"2"`, "/logs/_doc/k": "in it", "/closed/_doc/k": "closed",
		} {
			if text := mustAsk(t, s, request{http.MethodGet, path, ""}); !strings.Contains(text, want) {
				t.Errorf("GET %s: %s, want it to have %q", path, text, want)
			}
		}
	}
}

// TestDeletedMeanwhile deletes an index while the node is cloned: the copy has it whole, or not at all.
func TestDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	testkit.InSomeRuns(t)
	n, writer, _ := serving(t)
	load(t, writer, "doomed")
	mustAsk(t, writer, request{"PUT", "/spared/_doc/k", `{"v": "w"}`})
	to := enginetest.NewNode(t, tested)
	var both errgroup.Group
	both.Go(func() error { return tested.Clone(t.Context(), n, to, func(string) {}) })
	both.Go(func() error {
		err := wait.Until(t.Context(), wait.Every(time.Millisecond), func() (again bool, err error) {
			begun, err := filepath.Glob(filepath.Join(shelfOf(n), "indices", "*", "*", "__*"))
			return len(begun) == 0, err
		})
		if err != nil {
			return err
		}
		_, err = writer.ask(t.Context(), http.MethodDelete, "/doomed", "")
		return err
	})
	if err := both.Wait(); err != nil {
		t.Fatal(err)
	}
	enginetest.Serve(t, tested, to)
	s := bound(t, to, engine.User{Name: "u2", Password: "anotherhorsebattery"})
	mustAsk(t, s, request{"GET", "/spared/_doc/k", ""})
	text, err := s.ask(t.Context(), http.MethodGet, "/doomed/_count", "")
	if status(err) != http.StatusNotFound && !strings.Contains(text, `"count":10000,`) {
		t.Errorf("of an index that was deleted meanwhile, the copy has %s, %v", text, err)
	}
}
