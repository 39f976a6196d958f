package front

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// start is what a client of PostgreSQL's says at first.
func start(version uint32, words ...string) []byte {
	body := binary.BigEndian.AppendUint32(nil, version)
	for _, word := range words {
		body = append(body, word+"\x00"...)
	}
	body = append(body, 0)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)
}

// TestOnlyFollowersAreLed to PostgreSQL: who does not begin as a node does that follows is let no further.
func TestOnlyFollowersAreLed(t *testing.T) {
	t.Parallel()
	const version = 3 << 16
	follower := start(version, "user", "backstay", "database", "replication", "replication", "true", "application_name", "b")
	for name, tc := range map[string]struct {
		said  []byte
		isLed bool
	}{
		"a node":               {follower, true},
		"a node, of version 2": {start(version+2, "replication", "true", "user", "backstay"), true},
		"a session":            {start(version, "user", "backstay", "database", "postgres"), false},
		"logical replication":  {start(version, "user", "backstay", "replication", "database"), false},
		"another role":         {start(version, "user", "writer", "replication", "true"), false},
		"a role said twice":    {start(version, "user", "backstay", "replication", "true", "user", "writer"), false},
		"said twice, reversed": {start(version, "user", "writer", "replication", "true", "user", "backstay"), false},
		"a value as a name":    {start(version, "options", "user", "backstay", "replication", "true"), false},
		"a cancellation":       {start(1234<<16|5678, "user", "backstay", "replication", "true"), false},
		"TLS within TLS":       {start(1234<<16 | 5679), false},
		"too much":             {start(version, "user", "backstay", "replication", "true", "x", strings.Repeat("y", 20000)), false},
		"too little":           {[]byte{0, 0, 0, 4, 0, 3, 0, 0}, false},
		"half of it":           {follower[:20], false},
	} {
		got, err := readStart(bytes.NewReader(tc.said))
		if (err == nil) != tc.isLed {
			t.Errorf("%s: %v, want it to be led: %t", name, err, tc.isLed)
		}
		if tc.isLed && !bytes.Equal(got, tc.said) {
			t.Errorf("%s: %q is passed on, want %q", name, got, tc.said)
		}
	}
}

// TestReadStartTakesNoMore leaves what comes behind the first message to PostgreSQL.
func TestReadStartTakesNoMore(t *testing.T) {
	t.Parallel()
	from := bytes.NewReader(append(start(3<<16, "user", "backstay", "replication", "true"), "more"...))
	if _, err := readStart(from); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(from); string(rest) != "more" || err != nil {
		t.Errorf("%q is left (%v)", rest, err)
	}
}

func TestIsOfThisMachine(t *testing.T) {
	t.Parallel()
	here, there := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 1}
	for _, tc := range []struct {
		from net.Addr
		want bool
	}{{here, true}, {there, false}, {&net.UnixAddr{Name: "x"}, false}} {
		if got := isOfThisMachine(ends{from: tc.from, to: here}); got != tc.want {
			t.Errorf("from %v to %v: %t", tc.from, here, got)
		}
	}
}

// ends are those of a connection, which says nothing.
type ends struct{ from, to net.Addr }

func (e ends) LocalAddr() net.Addr            { return e.to }
func (e ends) RemoteAddr() net.Addr           { return e.from }
func (ends) Read([]byte) (int, error)         { return 0, io.EOF }
func (ends) Write([]byte) (int, error)        { return 0, io.EOF }
func (ends) Close() error                     { return nil }
func (ends) SetDeadline(time.Time) error      { return nil }
func (ends) SetReadDeadline(time.Time) error  { return nil }
func (ends) SetWriteDeadline(time.Time) error { return nil }
