package local_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
	"github.com/backstay/backstay/keeper/wire"
)

// stranger answers on the keeper's socket as the handshake's paths and shapes are for ever, whatever the
// protocol is: they are written out here, not taken from where they could change.
func stranger(t *testing.T, c keeper.Config, protocol int, exits bool) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(keepertest.Socket(c)), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", keepertest.Socket(c))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	server := &http.Server{Handler: mux}
	mux.HandleFunc("GET /v1/keeper", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"protocol":%d,"version":"v9.9.9","pid":%d}`, protocol, os.Getpid())
	})
	mux.HandleFunc("POST /v1/exit", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		if exits {
			go server.Close()
		}
	})
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}

func TestLauncherReplacesAnOlderProtocol(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	l := launcher(t, c, "1")
	stranger(t, c, wire.Protocol-1, true)
	mustEnsure(t, l)
}

func TestLauncherRefusesANewerProtocol(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	l := launcher(t, c, "1")
	stranger(t, c, wire.Protocol+1, true)
	if err := l.Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), "kept by a newer Backstay, v9.9.9") {
		t.Errorf("%v, want that the keeper is of a newer Backstay", err)
	}
	if k, err := l.Backend.Keeper(t.Context()); err != nil || k.Protocol != wire.Protocol+1 {
		t.Errorf("the newer keeper is gone: %+v, %v", k, err)
	}
}

func TestLauncherTellsOfAKeeperThatStays(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	l := launcher(t, c, "1")
	stranger(t, c, wire.Protocol-1, false)
	l.Patience = 300 * time.Millisecond
	want := fmt.Sprintf("process %d, does not make room", os.Getpid())
	if err := l.Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}
