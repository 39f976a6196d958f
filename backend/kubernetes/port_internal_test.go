package kubernetes

import (
	"testing"

	"github.com/backstay/backstay"
)

// TestEachPortHasItsTurn: a port that is free again is given to nobody before all others were.
func TestEachPortHasItsTurn(t *testing.T) {
	t.Parallel()
	b := &Backend{Config: Config{Exposure: Exposure{First: 30000, Last: 30003}}, avoided: map[int]bool{}}
	b.avoided[30001] = true
	for i, want := range []int{30000, 30002, 30003, 30000} {
		asked, _ := b.freePort() // who only asks takes nobody's turn
		if got, err := b.nextPort(); err != nil || got != want || asked != want {
			t.Errorf("port %d is %d (%v), want %d; who asked before was told of %d", i, got, err, want, asked)
		}
	}
	for n := 30000; n <= 30003; n++ {
		b.avoided[n] = true
	}
	if n, err := b.nextPort(); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("where none is free it is %d (%v)", n, err)
	}
}
