package e2e

import (
	"context"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/osb/osbtest"
)

// brokersElsewhere are brokers of a script's own, over HTTP, by their names.
type brokersElsewhere struct {
	t       *testing.T
	brokers map[string]*renamed
}

// renamed is a broker whose one offering a script gives a name.
type renamed struct {
	*brokertest.Memory
	offering string
}

func (b *renamed) Catalog(ctx context.Context) ([]backstay.CatalogOffering, error) {
	offerings, err := b.Memory.Catalog(ctx)
	for i := range offerings {
		offerings[i].Name = b.offering
	}
	return offerings, err
}

// command starts a broker, or has it sell another version:
//
//	broker start NAME OFFERING   has $NAME be its address, $LOGIN and $SECRET who is served there
//	broker release NAME VERSION
//	broker python NAME PORT      the same as start, with the broker of testdata/openbroker.py
//	broker java NAME PORT        the same, with that of testdata/springbroker
func (e *brokersElsewhere) command(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: broker start NAME OFFERING, broker release NAME VERSION, or broker python|java NAME PORT")
	}
	name := args[1]
	switch args[0] {
	case "release":
		e.brokers[name].Release(args[2])
		return
	case "python":
		startProgram(ts, name, args[2], filepath.Join(ts.Getenv("CLIENTS"), "openbroker", "bin", "python"), "-B",
			filepath.Join(testdata, "openbroker.py"), args[2])
		return
	case "java":
		startProgram(ts, name, args[2], "java", "-jar", filepath.Join(os.Getenv(springVariable), "queues.jar"),
			"--server.address=127.0.0.1", "--server.port="+args[2])
		return
	}
	b := &renamed{brokertest.NewMemory(), args[2]}
	b.Updateable, b.AsyncBindings = true, true
	s := httptest.NewServer(osbtest.Handler(e.t, b).Handler())
	ts.Defer(s.Close)
	e.brokers[name] = b
	tell(ts, name, s.URL, osbtest.Username, osbtest.Password.Reveal())
}

func tell(ts *testscript.TestScript, name, url, login, secret string) {
	ts.Setenv(strings.ToUpper(name), url)
	ts.Setenv("LOGIN", login)
	ts.Setenv("SECRET", secret)
}

// springVariable names the directory with the broker that scripts/other-broker has built.
const springVariable = "BACKSTAY_TEST_SPRING"

// needsSpring skips a script that says so where that broker is not.
func needsSpring(t *testing.T, script string) {
	t.Helper()
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(string(text), "# needs spring\n") && os.Getenv(springVariable) == "" {
		t.Skipf("%s names no directory with a broker of Spring: make test-other does", springVariable)
	}
}

// startProgram starts a broker that is written with somebody else's library, and waits until it answers at that port.
func startProgram(ts *testscript.TestScript, name, port, program string, args ...string) {
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	ts.Check(cmd.Start())
	ts.Defer(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	address := "127.0.0.1:" + port
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the broker does not answer: %v", err)
		}
	}
	tell(ts, name, "http://"+address, "platform", "a-broker's-password")
}
