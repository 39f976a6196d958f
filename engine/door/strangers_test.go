package door

import (
	"net"
	"testing"
	"time"
)

// visitor is a connection from an address that tells whether it was closed.
type visitor struct {
	net.Conn
	from   from
	closed bool
}

// from is an address.
type from string

func (from) Network() string  { return "tcp" }
func (f from) String() string { return string(f) }

func (v *visitor) RemoteAddr() net.Addr { return v.from }

func (v *visitor) Close() error {
	v.closed = true
	return nil
}

// TestStrangers fills a door from one network: those who come from others keep their places, and get new ones.
func TestStrangers(t *testing.T) {
	t.Parallel()
	const most = 10
	var s Strangers
	enter := func(address from) (*visitor, *Stranger) {
		v := &visitor{from: address}
		return v, s.Enter(v, most)
	}
	monitor, ofMonitor := enter("192.0.2.1:1000")
	earlier, _ := enter("192.0.2.1:1001")
	quiet, _ := enter("[2001:db8::1]:1000")
	time.Sleep(time.Millisecond)
	ofMonitor.Heard()
	var flood []*visitor
	for range 100 { // of one subscriber's addresses
		v, _ := enter("[2001:db8:0:1::1]:1000")
		flood = append(flood, v)
	}
	open := 0
	for _, v := range flood {
		if !v.closed {
			open++
		}
	}
	if monitor.closed || earlier.closed || quiet.closed || open != most-3 || flood[99].closed {
		t.Fatalf("of 100 from one network %d are held; the others are closed: %t, %t, %t", open, monitor.closed,
			earlier.closed, quiet.closed)
	}
	for range 3 { // then two networks have the most, five each
		enter("192.0.2.1:1002")
	}
	if monitor.closed || !earlier.closed || quiet.closed {
		t.Errorf("the one that was heard later, the earlier one, one of another network are closed: %t, %t, %t",
			monitor.closed, earlier.closed, quiet.closed)
	}
	ofMonitor.Leave()
	ofMonitor.Leave()
	if len(s.all) != most-1 {
		t.Errorf("where one has left, %d have places", len(s.all))
	}
	if v, _ := enter("nowhere"); v.closed {
		t.Error("one that comes is closed where there is a place")
	}
}
