package repository_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/repository"
)

// wantsTrouble probes a repository that is not well.
func wantsTrouble(t *testing.T, r backstay.Repository, words string) {
	t.Helper()
	err := repository.Probe(t.Context(), r, time.Now())
	if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(backstay.SentenceOf(err), words) {
		t.Errorf("got %v, want %q", err, words)
	}
	place := r.Dir
	if r.Objects != nil {
		place = r.Objects.Bucket
	}
	if strings.Contains(backstay.SentenceOf(err), place) || !strings.Contains(err.Error(), place) {
		t.Errorf("%q tells tenants of %s, or %q does not tell operators", backstay.SentenceOf(err), place, err)
	}
}

func TestTroubleOfADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := repository.Probe(t.Context(), backstay.Repository{Dir: dir}, time.Now()); err != nil {
		t.Errorf("all is well, but: %v", err)
	}
	if list, err := os.ReadDir(dir + "/probe"); err != nil || len(list) != 1 || list[0].Name() != ".half" {
		t.Errorf("a probe leaves %v, %v", list, err)
	}
	wantsTrouble(t, backstay.Repository{Dir: dir + "/absent"}, "is not there: is its disk mounted?")
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantsTrouble(t, backstay.Repository{Dir: dir + "/file"}, "is not there")
	wantsTrouble(t, backstay.Repository{Dir: "/proc/self"}, "The repository ")
}

// TestAFullDirectory is of a file system of its own.
func TestAFullDirectory(t *testing.T) {
	dir := testkit.Dir(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	s := mustOpen(t, backstay.Repository{Dir: dir}.Of("i", key))
	mustPut(t, s, "a", []byte("before"))
	_, err := s.PutText(t.Context(), "a", noise(2<<20))
	if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(backstay.SentenceOf(err), "is full") {
		t.Errorf("got %v", err)
	}
	if got, err := s.Text(t.Context(), "a"); err != nil || string(got) != "before" {
		t.Errorf("what was there is read as %q, %v", got, err)
	}
	mustPut(t, s, "b", noise(1<<19)) // the half has made room
}

func TestTroubleOfAnObjectStore(t *testing.T) {
	t.Parallel()
	o := testkit.ObjectStore(t)
	if err := repository.Probe(t.Context(), backstay.Repository{Objects: &o.ObjectStore}, time.Now()); err != nil {
		t.Fatal(err)
	}
	for words, change := range map[string]func(*backstay.ObjectStore){
		"is not there: the operator must make the bucket": func(o *backstay.ObjectStore) { o.Bucket = "absent" },
		"does not know its access key":                    func(o *backstay.ObjectStore) { o.AccessKey = "nobody" },
		"the secret key is not the right one":             func(o *backstay.ObjectStore) { o.SecretKey = "wrong" },
		"has a certificate that is not trusted":           func(o *backstay.ObjectStore) { o.Authority = "" },
		"is away: the connection to it is refused":        func(o *backstay.ObjectStore) { o.Endpoint = "127.0.0.1:1" },
		"there is no machine of that name":                func(o *backstay.ObjectStore) { o.Endpoint = "no.such.invalid" },
	} {
		changed := o.ObjectStore
		change(&changed)
		wantsTrouble(t, backstay.Repository{Objects: &changed}, words)
	}
	o.Stop()
	wantsTrouble(t, backstay.Repository{Objects: &o.ObjectStore}, "is away")
}

// TestAStoreThatStandsStill is told of within seconds: it takes long because the store is waited for.
func TestAStoreThatStandsStill(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a store that does not answer")
	}
	o := testkit.ObjectStore(t)
	o.Pause()
	defer o.Resume()
	began := time.Now()
	wantsTrouble(t, backstay.Repository{Objects: &o.ObjectStore}, "has let us wait for 10s")
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("that takes %s", took)
	}
}
