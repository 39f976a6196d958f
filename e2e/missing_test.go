package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// take moves a file or directory of the data directory out of it, and returns what puts it back.
func (p *platform) take(path ...string) (giveBack func()) {
	p.t.Helper()
	from := filepath.Join(append([]string{p.data}, path...)...)
	to := filepath.Join(p.t.TempDir(), "taken")
	p.mustRename(from, to)
	return func() {
		p.t.Helper()
		p.mustRename(to, from)
	}
}

func (p *platform) mustRename(from, to string) {
	p.t.Helper()
	if out, err := exec.Command("mv", "-T", from, to).CombinedOutput(); err != nil { // over file systems, too
		p.t.Fatalf("%v: %s", err, out)
	}
}

func (p *platform) wantMissing(path ...string) {
	p.t.Helper()
	name := filepath.Join(append([]string{p.data}, path...)...)
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		p.t.Errorf("%s was made in the place of the one that is missing (%v)", name, err)
	}
}

// awaitLog waits until somebody is told something.
func (p *platform) awaitLog(sentence string) {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(p.logs(), sentence); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Errorf("nobody is told: %s\n%s", sentence, p.logs())
			return
		}
	}
}

// wantKnown fails unless the state is the one that was there before: it knows the password and the organization.
func (p *platform) wantKnown(organization string) {
	p.t.Helper()
	p.token = ""
	var found struct{ Resources []struct{ Name string } }
	_, _, err := p.call("GET", "/v3/organizations?names="+organization, nil, &found)
	if err != nil || len(found.Resources) != 1 {
		p.t.Errorf("the organization is not known any more: %v %v", found, err)
	}
}

// TestStateThatIsMissing takes away what serve stands on. Nothing is made in its place, serve says what is missing,
// and it comes up when that is back.
func TestStateThatIsMissing(t *testing.T) {
	t.Parallel()
	p := start(t, "backstay")
	if _, _, err := p.call("POST", "/v3/organizations", map[string]string{"name": "kept"}, nil); err != nil {
		t.Fatal(err)
	}
	p.stop()

	for missing, taken := range map[string][][]string{
		"The sealing key " + filepath.Join(p.data, "seal.key"): {{"seal.key"}},
		"The data directory instances/state/data":              {{"instances", "state"}},
		// The record is made anew around the data.
		"The state database": {{"instances", "state"}, {"keeper", "instances", "state.json"}},
	} {
		giveBack := p.take(taken[0]...)
		for _, more := range taken[1:] {
			p.take(more...)
		}
		var isBack atomic.Bool
		var told sync.WaitGroup
		told.Go(func() {
			p.awaitLog(missing + " is missing")
			p.wantMissing(taken[0]...)
			isBack.Store(true)
			giveBack()
		})
		p.mustServe()
		if !isBack.Load() {
			t.Errorf("it serves without it: %s", missing)
		}
		told.Wait()
		p.wantKnown("kept")
		p.stop()
	}
}

// TestStateThatCrashes kills the state database below serve, which goes on with it, jobs included.
func TestStateThatCrashes(t *testing.T) {
	t.Parallel()
	p := start(t, "backstay")
	if _, _, err := p.call("POST", "/v3/organizations", map[string]string{"name": "kept"}, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		killPID(p.statePID())
		p.awaitKnown("kept")
	}
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	select {
	case <-ended:
		t.Errorf("serve has ended with its database:\n%s", p.logs())
	default:
	}
	var found struct{ Resources []struct{ GUID string } }
	for begun := time.Now(); len(found.Resources) == 0; time.Sleep(20 * time.Millisecond) {
		status, _, err := p.call("GET", "/v3/organizations?names=kept", nil, &found)
		if err != nil && status != http.StatusServiceUnavailable || time.Since(begun) > patience {
			t.Fatalf("the organization: %v %v", found, err) // a connection may be found broken as it is used
		}
	}
	var location string
	for begun := time.Now(); location == ""; time.Sleep(20 * time.Millisecond) {
		status, header, err := p.call("DELETE", "/v3/organizations/"+found.Resources[0].GUID, nil, nil)
		if err != nil && status != http.StatusServiceUnavailable || time.Since(begun) > patience {
			t.Fatal(err)
		}
		location = header.Get("Location")
	}
	var job struct{ State string }
	for begun := time.Now(); job.State != "COMPLETE"; time.Sleep(20 * time.Millisecond) {
		status, _, err := p.call("GET", location, nil, &job)
		if err != nil && status != http.StatusServiceUnavailable || time.Since(begun) > patience {
			t.Fatalf("a job is not done any more: %v %v\n%s", job, err, p.logs())
		}
	}
}

// statePID is the main process of the state database.
func (p *platform) statePID() (pid int) {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.data, "instances", "state", "data", "postmaster.pid"))
	if err == nil {
		_, err = fmt.Sscan(string(text), &pid)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return pid
}

// awaitKnown returns when the API answers from the state again, with what it knew.
func (p *platform) awaitKnown(organization string) {
	p.t.Helper()
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		var found struct{ Resources []struct{ Name string } }
		_, _, err := p.call("GET", "/v3/organizations?names="+organization, nil, &found)
		if err == nil && len(found.Resources) == 1 {
			return
		}
		if time.Since(begun) > patience {
			p.t.Fatalf("the state does not come back: %v %v\n%s", found, err, p.logs())
		}
	}
}
