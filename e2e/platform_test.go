// Package e2e drives a whole Backstay from outside, as its users do: the genuine cf command, psql,
// and the API. Nothing here looks inside but the crash test, which asks the rooms for the names of
// their steps.
package e2e

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/kubetest"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/uaa"
)

// patience is how long anything may take before a test gives up on it.
const patience = time.Minute

// repository is the directory of the whole module.
var repository = func() string {
	dir, err := filepath.Abs("..")
	if err != nil {
		panic(err)
	}
	return dir
}()

var testdata = filepath.Join(repository, "e2e", "testdata")

// built is a directory with the binary under test as "backstay", and as "backstay-crash" the one
// that can be told where to die. The plugin of cf lies below it.
var built string

func TestMain(m *testing.M) {
	if os.Getenv(aloneVariable) != "" {
		os.Exit(becomeAlone())
	}
	if code, walled := testkit.RunWalled(); walled {
		os.Exit(code)
	}
	if built = os.Getenv(builtVariable); built != "" {
		os.Exit(m.Run())
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "bs-bin-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil {
			panic(err)
		}
		built = dir
		for name, from := range map[string][2]string{
			"backstay": {"./cmd/backstay"}, "backstay-crash": {"./cmd/backstay", "crashtest"}, "plugins/cf-conduit-linux64": {"./cmd/cf-conduit"},
		} {
			build := exec.Command("go", "build", "-tags", from[1], "-o", filepath.Join(dir, name), from[0])
			build.Dir = repository
			if out, err := build.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
				return 1
			}
		}
		return kubetest.Run(m)
	}())
}

// platform is one running Backstay with everything of its own. It ends with the test.
type platform struct {
	t        testing.TB
	binary   string
	data     string
	url      string
	username string // who asks; admin if empty
	password string
	args     []string
	env      []string
	client   *http.Client // that reaches the API

	mu    sync.Mutex
	serve *exec.Cmd
	ended chan struct{} // closed when serve has ended

	token   string
	tokenOf time.Time // when it was given
}

// tokenFor is for how long a token is used: less than it is good for, which the longest journeys outlive.
const tokenFor = uaa.DefaultAccessLifetime / 2

// start brings up a Backstay from the named binary, with more flags for serve.
func start(t testing.TB, binary string, flags ...string) *platform {
	t.Helper()
	p := prepare(t, binary, flags...)
	p.begin()
	return p
}

// startAt is start for one whose API, or what it needs, is somewhere else.
func startAt(t testing.TB, at place, flags ...string) *platform {
	t.Helper()
	p := prepare(t, "backstay", flags...)
	if at.programs != "" {
		p.binary, p.client = filepath.Join(at.programs, "backstay"), at.client
	}
	p.begin()
	return p
}

// begin starts a Backstay for the first time, and reads the password that it has given itself.
func (p *platform) begin() {
	t := p.t
	t.Helper()
	p.mustServe()
	password, err := os.ReadFile(filepath.Join(p.data, "admin-password"))
	if err != nil {
		t.Fatal(err)
	}
	p.password = strings.TrimSpace(string(password))
}

// volumesVariable is how volumes are made where a test does not say so. By itself they are directories, so that not each
// of many instances has the log of a file system written for it.
const volumesVariable = "BACKSTAY_TEST_VOLUMES"

// prepare is start for a Backstay that does not serve yet.
func prepare(t testing.TB, binary string, flags ...string) *platform {
	t.Helper()
	first, last := testkit.Ports(t, 60)
	p := &platform{
		t: t, binary: filepath.Join(built, binary), data: testkit.Dir(t),
		url: fmt.Sprintf("http://127.0.0.1:%d", first), client: client,
	}
	p.args = append([]string{
		"serve", "--data", p.data, "--listen", fmt.Sprintf("127.0.0.1:%d", first),
		"--ports", fmt.Sprintf("%d-%d", first+1, last),
		"--volumes", cmp.Or(os.Getenv(volumesVariable), string(keeper.DirectoryVolumes)),
		"--admin-password-file", filepath.Join(p.data, "admin-password"),
	}, flags...)
	if slices.Contains(flags, "--tls") || slices.Contains(flags, "--tls-certificate") {
		p.url = strings.Replace(p.url, "http:", "https:", 1)
	}
	t.Cleanup(p.stop)
	shareGolden(t, p.data)
	return p
}

// shareGolden has a platform use the golden directories of all platforms of this test process: to make them takes longer
// than most tests.
func shareGolden(t testing.TB, data string) {
	t.Helper()
	cache := filepath.Join(data, "cache")
	if err := os.Mkdir(cache, 0o711); err != nil {
		t.Fatal(err)
	}
	for _, engine := range []string{"postgres", "mysql"} {
		shared := filepath.Join(built, "golden", engine)
		if err := errors.Join(os.MkdirAll(shared, 0o711), os.Symlink(shared, filepath.Join(cache, engine))); err != nil {
			t.Fatal(err)
		}
	}
}

// mustServe starts the control plane and waits until its API answers.
func (p *platform) mustServe() {
	p.t.Helper()
	log, err := os.OpenFile(filepath.Join(p.data, "serve.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(p.binary, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	p.mu.Lock()
	p.serve, p.ended = cmd, ended
	p.mu.Unlock()
	p.awaitAnswer(ended)
}

// awaitAnswer returns when the API answers, or when the control plane has ended: that is for whoever
// wants it up to notice.
func (p *platform) awaitAnswer(ended <-chan struct{}) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-ended:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		r, err := http.NewRequestWithContext(ctx, "GET", p.url+"/", nil)
		if err != nil {
			p.t.Fatal(err)
		}
		stop := make(chan struct{})
		go func() { // one that dies while it is asked does not answer
			select {
			case <-ended:
				cancel()
			case <-stop:
			}
		}()
		_, _, err = p.do(r, nil)
		close(stop)
		cancel()
		if !errors.Is(err, errGone) { // without a market there is nothing at that path, and it says so
			return
		}
	}
	p.t.Fatalf("the API does not answer; serve.log:\n%s", p.logs())
}

// kill ends the control plane as a crash does.
func (p *platform) kill() {
	p.mu.Lock()
	cmd, ended := p.serve, p.ended
	p.mu.Unlock()
	cmd.Process.Kill()
	<-ended
}

// stop ends everything, as an operator does.
func (p *platform) stop() {
	stop := exec.Command(p.binary, "stop", "--data", p.data)
	if out, err := stop.CombinedOutput(); err != nil {
		p.t.Errorf("backstay stop: %v\n%s\nkeeper.log:\n%s", err, out, p.logs())
	}
	if p.ended != nil {
		<-p.ended
	}
	if p.t.Failed() {
		p.t.Logf("logs of %s:\n%s", p.data, p.logs())
	}
}

// logs are the last lines of the control plane's and the keeper's logs.
func (p *platform) logs() string {
	var all strings.Builder
	for _, name := range []string{"serve.log", "keeper.log"} {
		text, _ := os.ReadFile(filepath.Join(p.data, name))
		lines := strings.Split(string(text), "\n")
		fmt.Fprintf(&all, "== %s\n%s\n", name, strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
	return all.String()
}

// keeperPID asks the keeper who it is.
func (p *platform) keeperPID() int {
	p.t.Helper()
	socket := filepath.Join(p.data, "keeper", "keeper.sock")
	client := http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			},
		},
	}
	var info struct {
		PID int `json:"pid"`
	}
	response, err := client.Get("http://keeper/v1/keeper")
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&info); err != nil {
		p.t.Fatalf("ask the keeper for its pid: %v", err)
	}
	return info.PID
}

// killKeeper ends the data plane's keeper as a crash does.
func (p *platform) killKeeper() { killPID(p.keeperPID()) }

func killPID(pid int) {
	if pid > 0 {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// errGone tells that the control plane died while it was asked.
var errGone = errors.New("the API is gone")

// call makes a request of the API. The answer is decoded into result unless that is nil.
func (p *platform) call(method, path string, body, result any) (status int, header http.Header, err error) {
	if p.token == "" || time.Since(p.tokenOf) > tokenFor {
		if err := p.login(); err != nil {
			return 0, nil, err
		}
	}
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		content = bytes.NewReader(encoded)
	}
	if !strings.HasPrefix(path, "http") {
		path = p.url + path
	}
	r, err := http.NewRequest(method, path, content)
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "bearer "+p.token)
	r.Header.Set("Content-Type", "application/json")
	return p.do(r, result)
}

// client trusts everybody: who the API is, is for the scripts to find out.
var client = &http.Client{Transport: &http.Transport{
	TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 64, IdleConnTimeout: 10 * time.Second,
}}

func (p *platform) do(r *http.Request, result any) (int, http.Header, error) {
	response, err := p.client.Do(r)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errGone, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errGone, err)
	}
	if result != nil && response.StatusCode < 300 && len(text) > 0 {
		if err := json.Unmarshal(text, result); err != nil {
			return response.StatusCode, response.Header, fmt.Errorf("decode %s: %w", text, err)
		}
	}
	if response.StatusCode >= 400 {
		return response.StatusCode, response.Header, fmt.Errorf("%s %s: %d %s", r.Method, r.URL.Path, response.StatusCode,
			text)
	}
	return response.StatusCode, response.Header, nil
}

func (p *platform) login() error {
	form := url.Values{"grant_type": {"password"}, "username": {cmp.Or(p.username, "admin")}, "password": {p.password}}
	r, err := http.NewRequest("POST", p.url+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.SetBasicAuth("cf", "")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		Token string `json:"access_token"`
	}
	_, _, err = p.do(r, &answer)
	p.token, p.tokenOf = answer.Token, time.Now()
	return err
}
