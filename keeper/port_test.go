package keeper

import (
	"os/exec"
	"testing"

	"github.com/backstay/backstay/internal/testkit"
)

// TestPortIsFreeWhileOthersAreStarted: a child that is forked while a port is tried must not have it at the next try.
func TestPortIsFreeWhileOthersAreStarted(t *testing.T) {
	t.Parallel()
	first, _ := testkit.Ports(t, 1)
	k := newKeeper(Config{Listen: []string{"127.0.0.1"}, NoLimits: true})
	ended := make(chan struct{})
	defer func() { <-ended }()
	done := make(chan struct{})
	defer close(done)
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
				if err := exec.Command("/bin/true").Run(); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for i := range 20000 {
		if !k.bindable(first) {
			t.Fatalf("port %d is taken at try %d", first, i)
		}
	}
}
