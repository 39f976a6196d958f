package redis_test

import (
	"errors"
	"testing"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
)

// TestDrillIsApart: what a drill writes is not among the keys of clients. Where they delete all there is, it is known
// that nothing is known.
func TestDrillIsApart(t *testing.T) {
	t.Parallel()
	n, _, client := serving(t)
	session := enginetest.BeginDrill(t, tested, n)
	if size, err := client.DBSize(t.Context()).Result(); size != 0 || err != nil {
		t.Errorf("a client has %d keys that it has not made (%v)", size, err)
	}
	if number, err := session.Kept(t.Context()); number != 1 || err != nil {
		t.Errorf("a drill finds %d, %v", number, err)
	}
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Kept(t.Context()); !errors.Is(err, engine.ErrErased) {
		t.Errorf("after FLUSHALL a drill finds %v", err)
	}
}
