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
func (e *brokersElsewhere) command(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: broker start NAME OFFERING, broker release NAME VERSION, or broker python NAME PORT")
	}
	name := args[1]
	switch args[0] {
	case "release":
		e.brokers[name].Release(args[2])
		return
	case "python":
		startPython(ts, name, args[2])
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

// startPython starts a broker that is written with a library of PyPI, and waits until it answers.
func startPython(ts *testscript.TestScript, name, port string) {
	cmd := exec.Command(filepath.Join(ts.Getenv("CLIENTS"), "openbroker", "bin", "python"), "-B",
		filepath.Join(testdata, "openbroker.py"), port)
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
