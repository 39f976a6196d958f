package instance

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/node"
)

// An instance of which somebody reads from a replica has a second front, for reads, at a port of its own. It sends
// connections to the standby while that is fit to be read from, and to the primary otherwise: see route.

// readsMark is between the port of an instance and that of its reading front, in the name of that one's directory: who
// has lost the record knows the first.
const readsMark = ".r"

// readsDir is where the reading front of an instance works.
func (m *Machine) readsDir(port, readPort int) string {
	return m.RunDir("", port) + readsMark + strconv.Itoa(readPort)
}

// ReadsDirs matches where a reading front at the port works, whichever instance it is of.
func (m *Machine) ReadsDirs(readPort int) string {
	return filepath.Join(m.DataDir, "run", "*"+readsMark+strconv.Itoa(readPort))
}

// findReadPort is the port of the reading front of an instance whose record is lost; 0: it had none.
func (r Record) findReadPort(m *Machine) int {
	found, _ := filepath.Glob(m.RunDir("", r.Port) + readsMark + "*")
	for _, path := range found {
		_, text, _ := strings.Cut(filepath.Base(path), readsMark)
		if port, err := strconv.Atoi(text); err == nil {
			return port
		}
	}
	return 0
}

// readFront is the reading front of the instance, as a Spec wants it.
func (m *Machine) readFront(r Record, s backend.Spec) (endpoint.Front, error) {
	return m.frontAt(r, s, m.readsDir(r.Port, r.ReadPort), r.ReadPort)
}

// route is where reads go.
type route struct {
	known      bool  // this keeper has seen who serves reads; otherwise the front goes on as it was told before
	generation int64 // that the front's settings are of
	node       string
	to         netip.AddrPort // of the node; the zero one: nobody serves, and they wait
	shut       netip.AddrPort // where nobody reads any more: sessions there are ended; the zero one: nowhere
}

// routeOf is where reads are to go now. A standby is read from once it has followed, as long as it answers, it knows
// whose sessions are to be there, and its clients do not read what was true too long ago. Whether it follows at this
// moment does not count: while nobody knows of anything that it lacks, it lacks nothing.
func (in *Instance) routeOf(r Record) route {
	s, spec := &in.seen.second, r.spec(r.Started)
	way := route{known: true, generation: r.Started}
	if !hasSeveral(spec) || r.Second == nil {
		if in.seen.serves {
			way.node, way.to = r.Place.name(), in.m.reachable(r.Port)
		}
		return way
	}
	if s.process != nil {
		if s.asked.IsZero() {
			return route{generation: r.Started}
		}
		second := nodeAddress(r.Second.Port)
		knows := s.caught == in.strangers.Load() // whose sessions are to be there
		if spec.Reading.Standby() && !s.fresh.IsZero() && knows && !s.lagging && in.isHeard() {
			way.node, way.to = r.Place.other().name(), second
			return way
		}
		way.shut = second
	}
	if in.seen.serves {
		way.node, way.to = r.Place.name(), nodeAddress(r.NodePort)
	}
	return way
}

// reachable is how a node is reached that listens at the machine's addresses.
func (m *Machine) reachable(port int) netip.AddrPort {
	for _, address := range m.Listen {
		at, err := netip.ParseAddr(address)
		switch {
		case err != nil:
		case at == netip.IPv6Unspecified():
			return netip.AddrPortFrom(netip.IPv6Loopback(), uint16(port))
		case !at.IsUnspecified():
			return netip.AddrPortFrom(at, uint16(port))
		}
	}
	return nodeAddress(port)
}

// readingSight is what Run has seen of the reading front.
type readingSight struct {
	front    *process.Process // nil: it was not looked for, or has ended
	failures int
	retry    time.Time
}

// isMisled tells whether the reading front is to be told something else than it was.
func (in *Instance) isMisled(r Record) bool {
	s := &in.seen.reading
	if r.ReadPort == 0 || in.m.Now().Before(s.retry) {
		return false
	}
	told, way := in.told.Load(), in.routeOf(r)
	return s.front == nil || told == nil || *told != way && way.known
}

// routeSteps have a reading front send reads where they are to go now. That it fails is no failure of the primary.
func (in *Instance) routeSteps() []step.Step {
	return []step.Step{{Name: "keeper.reads-routed", Do: func(ctx context.Context) error {
		in.routing.Lock()
		defer in.routing.Unlock()
		r, s := in.Record(), &in.seen.reading
		way := in.routeOf(r)
		if err := in.tellRoute(ctx, r, way); err != nil {
			s.failures++
			delay := max(backoff(s.failures), seeAgain)
			s.retry = in.m.Now().Add(delay)
			in.log.Warn("a front is not told where reads go", "error", err, "again_in", delay)
			return nil
		}
		s.failures = 0
		in.told.Store(&way)
		in.noteRoute(way)
		in.tellLag(way)
		return nil
	}}}
}

func (in *Instance) tellRoute(ctx context.Context, r Record, way route) error {
	f, err := in.m.readFront(r, r.spec(way.generation))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, frontLimit)
	defer cancel()
	p, err := f.Ensure(ctx)
	if err != nil {
		return err
	}
	in.loseReadFront()
	if in.seen.reading.front = p; !way.known {
		return nil
	}
	if err := sendReads(ctx, f.Client(), way); err != nil || !in.seen.second.lagging || !way.shut.IsValid() {
		return err
	}
	return in.endReaders(ctx)
}

// sendReads tells a front where reads go. Sessions go on but those where nobody reads any more: these are ended, since
// what they read next would be older than they may read, or they may read nothing any more. And what they are at may be
// what holds the standby up.
func sendReads(ctx context.Context, c *endpoint.Client, way route) error {
	var to []netip.AddrPort
	if way.to.IsValid() {
		to = append(to, way.to)
	}
	if err := c.Switch(ctx, to...); err != nil || !way.shut.IsValid() {
		return err
	}
	return c.Cut(ctx, way.shut)
}

// endReaders ends what those were at who have read from a standby that is too far behind. A server need not notice that
// they are gone before it has come to the end of that.
func (in *Instance) endReaders(ctx context.Context) error {
	e, ok := in.seen.second.node.Engine.(engine.Reader)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, mirrorPatience)
	defer cancel()
	if err := e.EndReaders(ctx, in.seen.second.node.Node); err != nil {
		in.log.Warn("what readers are at on a standby that is behind goes on", "error", err)
	}
	return nil
}

func (in *Instance) loseReadFront() {
	if p := in.seen.reading.front; p != nil {
		p.Close()
	}
	in.seen.reading.front = nil
}

// endReadFront ends the reading front, if there is one. Its directory is left, without what is in it: it tells the
// port.
func (in *Instance) endReadFront() error {
	in.loseReadFront()
	r := in.Record()
	if r.ReadPort == 0 {
		return nil
	}
	f, err := in.m.readFront(r, r.spec(r.Started))
	if err != nil {
		return err
	}
	if _, err := os.Lstat(f.Dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return errors.Join(f.End(), os.RemoveAll(f.Dir), os.Mkdir(f.Dir, 0o700))
}

// closeReadFront ends the reading front for ever.
func (in *Instance) closeReadFront() error {
	err := in.endReadFront()
	if r := in.Record(); err == nil && r.ReadPort != 0 {
		dir := in.m.readsDir(r.Port, r.ReadPort)
		err = errors.Join(os.RemoveAll(logOfFront(dir)), os.RemoveAll(dir))
	}
	return err
}

// noteRoute tells which node serves reads.
func (in *Instance) noteRoute(way route) {
	if !way.known {
		return
	}
	in.mu.Lock()
	same := in.reader == way.node
	in.reader = way.node
	in.mu.Unlock()
	if !same {
		in.report(func(*backend.Status) {})
	}
}

// readWritten is the step by which an instance has a port for reads.
const readWritten = "keeper.read-port-written"

// GiveReadPort has the instance have a reading front at the port from now on, unless it has one already.
func (in *Instance) GiveReadPort(ctx context.Context, port int) error {
	in.write.Lock()
	defer in.write.Unlock()
	if r := in.Record(); r.ReadPort != 0 || r.Removing {
		return nil
	}
	err := step.Run(ctx, step.Step{Name: readWritten, Do: func(context.Context) error {
		return in.amend(func(r *Record) { r.ReadPort = port })
	}})
	if err == nil {
		in.report(func(*backend.Status) {})
	}
	return err
}

// MayRead is Unsupported if the instance has nobody to read from but its primary, and had nobody before. What it had
// once stays an address.
func (in *Instance) MayRead() error {
	r := in.Record()
	if _, reads := in.m.Engines[r.Spec.Engine].(engine.Reader); reads && hasSeveral(r.Spec) && r.Spec.Reading.Standby() ||
		r.ReadPort != 0 {
		return nil
	}
	return backstay.Errorf(backstay.Unsupported, "Instance %s has no replica to read from.", in.ID)
}

// awaitRoute returns once the reading front sends connections somewhere.
func (in *Instance) awaitRoute(ctx context.Context) error {
	in.wake()
	return wait.Until(ctx, wait.Every(5*time.Millisecond), func() (again bool, err error) {
		if told := in.told.Load(); told == nil || !told.to.IsValid() {
			return true, backstay.Errorf(backstay.Unavailable, "The address for reads does not answer yet.")
		}
		return false, nil
	})
}

// wake has Run look what is to be done.
func (in *Instance) wake() {
	select {
	case in.woken <- struct{}{}:
	default:
	}
}

// shutReaders has nobody read from the second until it is known that no session is left there of a user that was
// dropped. It returns once those are ended that came by the reading front.
func (in *Instance) shutReaders(ctx context.Context, primary node.Node) error {
	in.strangers.Add(1)
	in.wake()
	in.routing.Lock()
	defer in.routing.Unlock()
	r := in.Record()
	if r.ReadPort == 0 || r.Second == nil {
		return nil
	}
	if primary.Dir != in.m.dir(r, r.Place) {
		return errTakenOver
	}
	return in.sendAway(ctx, r, route{to: nodeAddress(r.NodePort), shut: nodeAddress(r.Second.Port)})
}

// holdReaders is shutReaders while the primary does not serve: who reads waits until it does.
func (in *Instance) holdReaders(ctx context.Context) error {
	in.strangers.Add(1)
	in.routing.Lock()
	defer in.routing.Unlock()
	r := in.Record()
	if r.ReadPort == 0 || r.Second == nil {
		return nil
	}
	return in.sendAway(ctx, r, route{shut: nodeAddress(r.Second.Port)})
}

// sendAway tells the reading front, if it runs, where reads go, until Run tells it anew. in.routing is held.
func (in *Instance) sendAway(ctx context.Context, r Record, way route) error {
	in.told.Store(nil)
	f, err := in.m.readFront(r, r.spec(r.Started))
	if err != nil {
		return err
	}
	p, err := f.Find()
	if p == nil || err != nil {
		return err
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), holdLimit)
	defer cancel()
	if err := sendReads(ctx, f.Client(), way); err != nil {
		return backstay.Wrapf(err, backstay.Unavailable, "The address for reads does not answer.")
	}
	return nil
}
