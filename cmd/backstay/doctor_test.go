package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mongodb"
	"github.com/backstay/backstay/engine/opensearch"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/keeper"
)

func TestDiagnoseFailsWithTheFirstRemedy(t *testing.T) {
	t.Parallel()
	c := &cli{stderr: new(bytes.Buffer)}
	var out bytes.Buffer
	err := diagnose(&out, []finding{
		{good, "cf", "8.18.0", ""},
		{fair, "cloning", "not here", ""},
		{lacking, "postgres", "no usable version", "apt-get install postgresql-15"},
		{lacking, "API", "port taken", "another"},
	})
	if code := c.report(err, ""); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if said := c.stderr.(*bytes.Buffer).String(); !strings.Contains(said, "Type: apt-get install postgresql-15\n") {
		t.Errorf("it says %q", said)
	}
	if !strings.Contains(out.String(), "MISSING  postgres ") {
		t.Errorf("it prints\n%s", out.String())
	}
	if err := diagnose(&out, []finding{{fair, "cloning", "not here", ""}}); err != nil {
		t.Errorf("a note alone is an error: %v", err)
	}
}

func TestExamineData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	found := examineData(dataDir(filepath.Join(dir, "not", "yet")), backstay.KB, false)
	for _, f := range found {
		if f.level == lacking {
			t.Errorf("%s: %s", f.what, f.state)
		}
	}
	if !strings.Contains(found[0].state, "not made yet") {
		t.Errorf("the directory is %q", found[0].state)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("it left %v (%v)", entries, err)
	}
	if f := examineSpace(dir, 1<<62); f.level != lacking {
		t.Errorf("a disk without room: %v", f)
	}
}

// TestJudgeSpace: a file system has room if it has some for bytes and for files, or tells nothing of files.
func TestJudgeSpace(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		files, free uint64
		want        level
	}{{1 << 20, 1 << 19, good}, {1 << 20, 0, lacking}, {0, 0, good}} {
		s := unix.Statfs_t{Bavail: 1 << 20, Bsize: 4096, Files: tc.files, Ffree: tc.free}
		if f := judgeSpace(s, backstay.GB); f.level != tc.want {
			t.Errorf("%d of %d inodes: %v", tc.free, tc.files, f)
		}
	}
}

func TestExamineParentsFindsTheClosedDoor(t *testing.T) {
	t.Parallel()
	closed := filepath.Join(t.TempDir(), "closed")
	open := filepath.Join(closed, "open")
	if err := os.MkdirAll(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if f := examineParents(open); f.level != lacking || f.remedy != "chmod o+x '"+closed+"'" {
		t.Errorf("got %v", f)
	}
}

func TestExamineAPI(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := dataDir(t.TempDir())
	if f := examineAddress("API", "listen", l.Addr().String(), dir); f.level != lacking {
		t.Errorf("a port of somebody else's: %v", f)
	}
	startHolder(t, dir.servePID())
	if f := examineAddress("API", "listen", l.Addr().String(), dir); f.level != good {
		t.Errorf("a port of ours: %v", f)
	}
}

func TestInUseCountsListeners(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	if n, err := inUse(keeper.PortRange{First: port, Last: port}); n != 1 || err != nil {
		t.Errorf("%d in use, want 1 (%v)", n, err)
	}
}

// TestAbsenceNamesTheDirectory in which the operator has said that a product is.
func TestAbsenceNamesTheDirectory(t *testing.T) {
	t.Parallel()
	const dir = "/srv/products"
	for name, e := range map[string]engine.Engine{
		"mongodb": mongodb.Engine{Roots: []string{dir}}, "elasticsearch": opensearch.Engine{Homes: []string{dir}},
	} {
		if said := examineAbsence(name, e).state; !strings.Contains(said, dir) {
			t.Errorf("%s is looked for in %s, and doctor says %q", name, dir, said)
		}
	}
}

// What doctor tells an operator to install is what scripts/setup installs.
func TestPackagesAreThoseOfSetup(t *testing.T) {
	t.Parallel()
	setup, err := os.ReadFile(filepath.Join("..", "..", "scripts", "setup"))
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range (&config{}).engines() {
		if foreign, ok := e.(engine.Foreign); ok {
			if said := examineAbsence(name, e).state; !strings.Contains(said, foreign.Needs()) {
				t.Errorf("%s: doctor says %q", name, said)
			}
			continue
		}
		p, ok := e.(engine.Packaged)
		if !ok {
			t.Errorf("%s: no packages bring it", name)
			continue
		}
		for _, wanted := range p.Packages() {
			if !slices.Contains(strings.FieldsFunc(string(setup),
				func(r rune) bool { return strings.ContainsRune(" \t\n()", r) }), wanted) {
				t.Errorf("%s: scripts/setup does not install %s", name, wanted)
			}
		}
	}
}

func TestExamineState(t *testing.T) {
	t.Parallel()
	cfg := &config{data: dataDir(t.TempDir())}
	cfg.SealKey = seal.Source{File: cfg.data.sealKey()}
	if found := examineState(t.Context(), cfg); found != nil {
		t.Errorf("before the first start: %v", found)
	}
	mustWrite(t, filepath.Join(cfg.data.stateData(), "PG_VERSION"))
	if found := examineState(t.Context(), cfg); len(found) != 1 || found[0].level != lacking ||
		!strings.Contains(found[0].state, "seal.key is missing") {
		t.Errorf("without the key: %v", found)
	}
	if err := seal.New().Create(cfg.data.sealKey()); err != nil {
		t.Fatal(err)
	}
	if found := examineState(t.Context(), cfg); len(found) != 1 || found[0].level != good {
		t.Errorf("all there: %v", found)
	}
	if err := os.Chmod(cfg.data.sealKey(), 0o644); err != nil {
		t.Fatal(err)
	}
	if found := examineState(t.Context(), cfg); len(found) != 1 || !strings.HasPrefix(found[0].remedy, "chmod 600 ") {
		t.Errorf("with a key that others read: %v", found)
	}
	if err := os.RemoveAll(filepath.Dir(cfg.data.stateData())); err != nil {
		t.Fatal(err)
	}
	if found := examineState(t.Context(), cfg); len(found) != 1 || !strings.Contains(found[0].state, "The state database is missing") {
		t.Errorf("without the state: %v", found)
	}
	cfg.Database = "postgres://elsewhere"
	if found := examineState(t.Context(), cfg); strings.Contains(found[0].state, "state database") {
		t.Errorf("with the state elsewhere: %v", found)
	}
}

func TestExamineStandbys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := &config{data: dataDir(filepath.Join(dir, "data")), volumes: keeper.DirectoryVolumes}
	cfg.standbyData = filepath.Join(dir, "standbys")
	if f := examineStandbys(t.Context(), cfg, false)[0]; f.level != lacking || !strings.Contains(f.state, "is not there") {
		t.Errorf("a disk that is not mounted: %v", f)
	}
	if err := os.Mkdir(cfg.standbyData, 0o711); err != nil {
		t.Fatal(err)
	}
	if f := examineStandbys(t.Context(), cfg, false)[0]; f.level != fair || !strings.Contains(f.state, "the disk of the data") {
		t.Errorf("the disk of the data: %v", f)
	}
	cfg.standbyData = "/dev/shm"
	if f := examineStandbys(t.Context(), cfg, false)[0]; sameDisk(dir, cfg.standbyData) != (f.level == fair) {
		t.Errorf("another disk: %v", f)
	}
}

// TestExamineCluster is of one that is not there: what one has, the tests of backend/kubernetes look at.
func TestExamineCluster(t *testing.T) {
	t.Parallel()
	if found := examineCluster(t.Context(), &config{}); len(found) > 0 {
		t.Errorf("without a kubeconfig it says %+v", found)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	c := &config{kubernetes: cluster{kubeconfig: file}}
	if found := examineCluster(t.Context(), c); len(found) != 1 || found[0].level != lacking {
		t.Errorf("without the file it says %+v", found)
	}
	const text = `{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}],
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"}}], users: [{name: a, user: {token: t}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	found := examineCluster(t.Context(), c)
	if len(found) != 2 || found[1].level != lacking || !strings.Contains(found[1].state, "does not answer") {
		t.Errorf("where nothing answers it says %+v", found)
	}
}
