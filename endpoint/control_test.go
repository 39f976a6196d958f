package endpoint_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/endpoint"
)

// TestBadRequests: each is refused with a sentence, and changes nothing.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	a := newTarget(t, "a")
	f, _ := serving(t, a)
	other := netip.MustParseAddrPort("127.0.0.1:1")
	many := make([]netip.AddrPort, 17)
	for i := range many {
		many[i] = netip.AddrPortFrom(other.Addr(), uint16(i+1))
	}
	for _, tc := range []struct {
		name    string
		targets []netip.AddrPort
		want    string
	}{
		{"itself", f.Listen, "the front itself"},
		{"no port", []netip.AddrPort{netip.AddrPortFrom(other.Addr(), 0)}, "no address"},
		{"no address", []netip.AddrPort{{}}, "no address"},
		{"everywhere", []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:1")}, "no address"},
		{"twice", []netip.AddrPort{other, other}, "twice"},
		{"too many", many, "17 targets"},
	} {
		err := f.Client().Switch(t.Context(), tc.targets...)
		if backstay.KindOf(err) != backstay.Invalid || !strings.Contains(backstay.SentenceOf(err), tc.want) {
			t.Errorf("%s: %v; want a refusal with %q", tc.name, err, tc.want)
		}
	}
	if err := f.Client().Cut(t.Context(), netip.AddrPort{}); backstay.KindOf(err) != backstay.Invalid {
		t.Errorf("to cut nothing: %v", err)
	}
	for _, tc := range []struct {
		method, path, body string
		status             int
	}{
		{"PUT", endpoint.TargetsPath, ``, 422},
		{"PUT", endpoint.TargetsPath, `["localhost:1"]`, 422},
		{"PUT", endpoint.TargetsPath, `["127.0.0.1:1"`, 422},
		{"PUT", endpoint.TargetsPath, `["127.0.0.1:1"] []`, 422},
		{"PUT", endpoint.TargetsPath, `{"targets": ["127.0.0.1:1"]}`, 422},
		{"PUT", endpoint.TargetsPath, `["` + strings.Repeat("1", 1<<20) + `"]`, 422},
		{"POST", endpoint.CutPath, `[]`, 422},
		{"POST", endpoint.TargetsPath, `[]`, 405},
		{"GET", "/v2/front", ``, 404},
	} {
		if status := request(t, f, tc.method, tc.path, tc.body); status != tc.status {
			t.Errorf("%s %s %.40s: %d; want %d", tc.method, tc.path, tc.body, status, tc.status)
		}
	}
	raw, err := net.Dial("unix", endpoint.SocketIn(f.Dir))
	must(t, err)
	defer raw.Close()
	io.WriteString(raw, "\x00\xff no HTTP\r\n\r\n")
	if answer, _ := io.ReadAll(raw); !strings.Contains(string(answer), " 400 ") {
		t.Errorf("what is no HTTP is answered %q", answer)
	}
	s := await(t, f, "any", func(endpoint.Status) bool { return true })
	if len(s.Targets) != 1 || s.Targets[0].Address != a.at || s.Held {
		t.Errorf("the status is %+v", s)
	}
	checkServedBy(t, dial(t, f), a)
}

func request(t *testing.T, f endpoint.Front, method, path, body string) (status int) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", endpoint.SocketIn(f.Dir))
		},
		DisableKeepAlives: true,
	}}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://front"+path, strings.NewReader(body))
	must(t, err)
	response, err := client.Do(r)
	must(t, err)
	response.Body.Close()
	return response.StatusCode
}

// TestOthersCannotTell: nobody but the front's user and root reaches its sockets, and what it keeps is its own. Its
// process is not root's.
func TestOthersCannotTell(t *testing.T) {
	t.Parallel()
	f, p := serving(t, newTarget(t, "a"))
	uid := uint32(os.Geteuid())
	if uid == 0 {
		uid = 65534
	}
	for path, mode := range map[string]os.FileMode{
		f.Dir: os.ModeDir | 0o700, endpoint.SocketIn(f.Dir): os.ModeSocket | 0o600,
		endpoint.HandoverSocketIn(f.Dir): os.ModeSocket | 0o600, endpoint.RecordIn(f.Dir): 0o600,
		endpoint.PIDFileIn(f.Dir): 0o600,
	} {
		info, err := os.Stat(path)
		must(t, err)
		if owner := info.Sys().(*syscall.Stat_t).Uid; info.Mode() != mode || owner != uid {
			t.Errorf("%s has mode %v and belongs to %d; want %v and %d", path, info.Mode(), owner, mode, uid)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	must(t, err)
	ids := strings.Repeat(fmt.Sprintf("\t%d", uid), 4)
	alone := os.Geteuid() != 0 || strings.Contains(string(status), "Groups:\t \n")
	if !strings.Contains(string(status), "Uid:"+ids+"\n") || !alone {
		t.Errorf("its process is\n%s", status)
	}
	if os.Geteuid() != 0 {
		t.Skip("Only root can try as somebody else.")
	}
	for _, socket := range []string{endpoint.SocketIn(f.Dir), endpoint.HandoverSocketIn(f.Dir)} {
		cmd := exec.Command("/bin/ls", socket)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "Permission denied") {
			t.Errorf("somebody else gets at %s: %s, %v", socket, out, err)
		}
	}
}

// TestOfAUser: the process is that of the user it is given.
func TestOfAUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("Only root has processes of others.")
	}
	f := newFront(t)
	f.User = &endpoint.User{UID: 54321, GID: 54322}
	t.Cleanup(func() { // newFront knows none of a user, and would leave it running
		if err := f.End(); err != nil {
			t.Error(err)
		}
	})
	p := ensure(t, f)
	var stat syscall.Stat_t
	must(t, syscall.Stat(fmt.Sprintf("/proc/%d", p.PID), &stat))
	if stat.Uid != 54321 || stat.Gid != 54322 {
		t.Errorf("it is of %d, %d", stat.Uid, stat.Gid)
	}
}

// TestStartFails: why is told to who has started it, and no process is left.
func TestStartFails(t *testing.T) {
	t.Parallel()
	a := newTarget(t, "a")
	f := newFront(t)
	f.Listen = []netip.AddrPort{a.at} // which listens there
	if _, err := f.Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("on a port that is taken: %v", err)
	}
	f.Patience = 0
	if _, err := f.Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), "--patience") {
		t.Errorf("without patience: %v", err)
	}
	if p, err := f.Find(); p != nil || err != nil {
		t.Errorf("it is found, %v", err)
	}
	f.Patience, f.Program = time.Second, "/bin/true"
	if _, err := f.Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), "without a word") {
		t.Errorf("a program that is none: %v", err)
	}
}

// TestListensElsewhere: a front with other addresses takes over those that both have, with their connections.
func TestListensElsewhere(t *testing.T) {
	t.Parallel()
	a := newTarget(t, "a")
	f, _ := serving(t, a)
	first := f
	c := dial(t, f)
	checkServedBy(t, c, a)
	f.Listen = []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), f.Listen[0].Port()), f.Listen[0]}
	ensure(t, f)
	checkServedBy(t, c, a)
	checkServedBy(t, dial(t, f), a)
	checkServedBy(t, dial(t, first), a)
	f.Listen = f.Listen[:1]
	ensure(t, f)
	checkServedBy(t, c, a)
	checkServedBy(t, dial(t, f), a)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // the one before is about to end
		c, err := connect(first)
		if err != nil {
			break
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatal("it still listens where it should not")
		}
	}
}
