package door

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a listener that answers one thing after the other.
type scripted struct {
	net.Listener
	answers []error // nil: a connection
}

func (s *scripted) Accept() (net.Conn, error) {
	next := s.answers[0]
	s.answers = s.answers[1:]
	if next != nil {
		return nil, &net.OpError{Op: "accept", Err: next}
	}
	return &visitor{}, nil
}

// TestAcceptWaitsForRoom: those who are there are not ended because another one cannot be let in now.
func TestAcceptWaitsForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &scripted{answers: []error{
			os.NewSyscallError("accept4", syscall.EMFILE), os.NewSyscallError("accept4", syscall.ENOMEM), nil, net.ErrClosed,
		}}
		if conn, err := Accept(t.Context(), l); conn == nil || err != nil {
			t.Errorf("where there are no more files for a moment: %v, %v", conn, err)
		}
		if _, err := Accept(t.Context(), l); !errors.Is(err, net.ErrClosed) {
			t.Errorf("where the listener is closed: %v", err)
		}
	})
}

// TestSuccessorWaits for the end of the one before, which is not told by the collector of garbage.
func TestSuccessorWaits(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "door") // whose path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	told := make(chan struct{})
	l, err := Succeed(filepath.Join(dir, "s"), func() { close(told) })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	next, err := net.Dial("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	<-told
	for range 5 {
		runtime.GC()
		next.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := next.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("while the one before goes on, the next one is told of its end: %v", err)
		}
	}
}
