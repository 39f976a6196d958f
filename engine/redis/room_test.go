package redis_test

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
)

// The operator comes in over one connection of those that clients have beyond the plan, however busy the machine is.
func TestRoomIsMadeBeyondThePlan(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	n.Size.Connections = 8
	enginetest.Serve(t, tested, n)
	c, err := tested.CreateUser(t.Context(), n, engine.User{Name: "u1", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	var held []enginetest.Session
	for {
		s, err := connect(t.Context(), c)
		if err != nil {
			break
		}
		defer s.Close()
		held = append(held, s)
	}
	for range 50 {
		if err := tested.Probe(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	alive := 0
	for _, s := range held {
		if s.Set(t.Context(), "k", "v") == nil {
			alive++
		}
	}
	if alive < len(held)-1 {
		t.Errorf("of %d connections %d are left", len(held), alive)
	}
}

// Whoever reaches the port can take places without a user, and come again at once when turned out.
func TestStrangersAtTheDoor(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, tested)
	n.Size.Connections = 8
	enginetest.Serve(t, tested, n)
	ctx, leave := context.WithCancel(t.Context())
	var strangers sync.WaitGroup
	defer strangers.Wait()
	defer leave()
	var turnedAway atomic.Int64
	for range 64 {
		strangers.Go(func() {
			for ctx.Err() == nil {
				stand(ctx, n)
				turnedAway.Add(1)
			}
		})
	}
	for range 30 {
		if err := tested.Probe(t.Context(), n); err != nil {
			t.Fatalf("%d were turned away, and so was the operator: %v", turnedAway.Load(), err)
		}
	}
}

// stand is a client that says nothing until it is turned out, or ctx ends.
func stand(ctx context.Context, n engine.Node) {
	conn, err := net.Dial("tcp", net.JoinHostPort(n.Ports[0].Listen[0], strconv.Itoa(n.Ports[0].Number)))
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	io.Copy(io.Discard, conn) // how it ends is no matter
}
