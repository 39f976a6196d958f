package front

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/wait"
)

// Config is what a front is given.
type Config struct {
	endpoint.Settings
	Dir   string
	Ready func() // called once it serves
	Log   *slog.Logger
}

// Front is a front that serves.
type Front struct {
	Config
	most      int // connections at once
	listeners map[netip.AddrPort]*net.TCPListener
	accepting sync.WaitGroup
	gone      chan struct{} // closed when another process has everything

	control sync.Mutex // held by whoever changes what a front was told, and while it hands over
	kept    *record    // what is on disk; nil: not known

	mu       sync.Mutex // never held over anything that waits
	told     record
	current  context.Context // ends whenever where new connections go changes
	change   context.CancelFunc
	life     context.Context // of connections that wait: until they stand still
	still    context.CancelCauseFunc
	nodes    map[netip.AddrPort]*node // that it was told, or that have sessions
	sessions map[*session]struct{}    // all connections
	count    counters
}

// counters are those since the first of all the processes that have handed over to one another.
type counters struct {
	Refused  int64 `json:"refused"`
	GivenUp  int64 `json:"given_up"`
	ToTarget int64 `json:"to_target"` // of sessions that have ended
	ToClient int64 `json:"to_client"`
}

func newFront(c Config) *Front {
	f := &Front{
		Config: c, most: c.Connections, listeners: map[netip.AddrPort]*net.TCPListener{}, gone: make(chan struct{}),
		nodes: map[netip.AddrPort]*node{}, sessions: map[*session]struct{}{},
	}
	f.current, f.change = context.WithCancel(context.Background())
	f.life, f.still = context.WithCancelCause(context.Background())
	return f
}

// Run serves until ctx ends, or until another front has taken over.
func Run(ctx context.Context, c Config) error {
	if os.Geteuid() == 0 {
		return errors.New("a front does not run as root: who talks to it is not to be trusted")
	}
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) // in which data would be
	f := newFront(c)
	f.limit()
	release, err := f.open(ctx)
	if err != nil {
		return err
	}
	if err := f.listen(); err != nil {
		return err
	}
	f.begin()
	if release == nil { // who had it is about to end
		err := wait.Until(ctx, wait.Every(time.Millisecond), func() (bool, error) {
			release, err = process.HoldPIDFile(endpoint.PIDFileIn(f.Dir))
			return errors.Is(err, process.ErrHeld), err
		})
		if err != nil {
			return err
		}
	}
	defer release()
	return f.serve(ctx)
}

// serve answers who tells a front what to do, until ctx ends or another front has taken over.
func (f *Front) serve(ctx context.Context) error {
	control, err := f.listenUnix("unix", endpoint.SocketIn(f.Dir))
	if err != nil {
		return err
	}
	handover, err := f.listenUnix("unixpacket", endpoint.HandoverSocketIn(f.Dir))
	if err != nil {
		return err
	}
	go f.answer(control)
	go f.giveOver(handover)
	f.Log.Info("the front serves", "listen", f.Listen, "build", f.Build)
	debug.FreeOSMemory() // what only the start of the program took
	f.Ready()
	select {
	case <-f.gone:
		f.Log.Info("another front has taken over")
	case <-ctx.Done():
		f.Log.Info("the front ends")
	}
	return nil
}

// openPatience is how long another front may take to come up so far, or to end so far, that it can be taken over from,
// or need not be.
const openPatience = 10 * time.Second

// open makes this process the front of its directory: the first one, as the record tells what that was told; or one
// that has taken over from another, which holds the pid file yet.
func (f *Front) open(ctx context.Context) (release func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	err = wait.Until(ctx, wait.Every(5*time.Millisecond), func() (again bool, err error) {
		release, err = process.HoldPIDFile(endpoint.PIDFileIn(f.Dir))
		if !errors.Is(err, process.ErrHeld) {
			return false, err
		}
		err = f.takeOver()
		return errors.Is(err, errNobody), err
	})
	if err == nil && release != nil {
		f.tell(f.readRecord())
	}
	return release, err
}

// limit keeps the number of connections to what files there can be.
func (f *Front) limit() {
	const others = 64 // files that are no connections
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return
	}
	if most := (int64(files.Cur) - others) / 2; int64(f.Connections) > most {
		f.Log.Warn("fewer connections than asked for: too few files may be open", "asked", f.Connections, "most", most)
		f.most = int(most)
	}
}

// listen listens where it has not been handed a listener, and closes those that it was handed and is not to have.
func (f *Front) listen() error {
	handed := f.listeners
	f.listeners = map[netip.AddrPort]*net.TCPListener{}
	for _, at := range f.Listen {
		l, ok := handed[at]
		if !ok {
			var err error
			if l, err = net.ListenTCP(network(at), net.TCPAddrFromAddrPort(at)); err != nil {
				return fmt.Errorf("listen for clients: %w", err)
			}
		}
		delete(handed, at)
		f.listeners[at] = l
	}
	for _, l := range handed {
		l.Close()
	}
	return nil
}

// network keeps to one family: all of IPv4's addresses are not all of IPv6's.
func network(at netip.AddrPort) string {
	if at.Addr().Is4() {
		return "tcp4"
	}
	return "tcp6"
}

// listenUnix listens on a socket that its owner and root alone can open.
func (f *Front) listenUnix(network, path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		return nil, fmt.Errorf("listen for the keeper: %w", err)
	}
	l.SetUnlinkOnClose(false) // by then it may be another front's
	return l, os.Chmod(path, 0o600)
}
