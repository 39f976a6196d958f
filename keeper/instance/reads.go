package instance

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
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

// reads is where an instance is read from; zero: it has no reading front.
func (m *Machine) reads(r Record) backstay.Endpoint {
	if r.ReadPort == 0 {
		return backstay.Endpoint{}
	}
	return backstay.Endpoint{Host: m.Host, Port: r.ReadPort}
}

// readFront is the reading front of the instance, as a Spec wants it.
func (m *Machine) readFront(r Record, s backend.Spec) (endpoint.Front, error) {
	return m.frontAt(r, s, m.readsDir(r.Port, r.ReadPort), r.ReadPort)
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
	return s.front == nil || told == nil || !told.equals(way) && way.known
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
	err = sendReads(ctx, f.Client(), way)
	if s := &in.seen.second; err == nil && s.reads.IsLate() && slices.Contains(way.shut, nodeAddress(r.Second.Port)) {
		return in.endReaders(ctx)
	}
	return err
}

// sendReads tells a front where reads go. Sessions go on but those where nobody reads any more: these are ended, since
// what they read next would be older than they may read, or they may read nothing any more. And what they are at may be
// what holds the standby up.
func sendReads(ctx context.Context, c *endpoint.Client, way route) error {
	err := c.Switch(ctx, way.to...)
	for _, at := range way.shut {
		if err == nil {
			err = c.Cut(ctx, at)
		}
	}
	return err
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

// noteRoute tells which nodes serve reads.
func (in *Instance) noteRoute(way route) {
	if !way.known {
		return
	}
	in.mu.Lock()
	readers := strings.Fields(way.nodes)
	same := slices.Equal(in.readers, readers)
	in.readers = readers
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
		if told := in.told.Load(); told == nil || len(told.to) == 0 {
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

// shutReaders has nobody begin to read from the nodes at these ports, until they know a user that was made or dropped.
// Where one was dropped, it returns once the sessions there are ended that came by the reading front; else they go on.
func (in *Instance) shutReaders(ctx context.Context, primary node.Node, ports []int, dropped bool) error {
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
	var way route
	for _, port := range ports {
		way.shut = append(way.shut, nodeAddress(port))
	}
	if told := in.told.Load(); told != nil { // where others may read from goes on
		shut := func(at netip.AddrPort) bool { return slices.Contains(way.shut, at) }
		way.to = slices.DeleteFunc(slices.Clone(told.to), shut)
	}
	if len(way.to) == 0 {
		way.to = []netip.AddrPort{nodeAddress(r.NodePort)}
	}
	if !dropped {
		way.shut = nil
	}
	return in.sendAway(ctx, r, way)
}

// holdReaders has nobody read from any node that follows while the primary does not serve, until it is known that no
// session is left of a user that was dropped: who reads waits.
func (in *Instance) holdReaders(ctx context.Context) error {
	in.strangers.add(true)
	for _, f := range in.followers {
		f.strangers.add(true)
	}
	in.routing.Lock()
	defer in.routing.Unlock()
	r := in.Record()
	if r.ReadPort == 0 || r.Second == nil {
		return nil
	}
	way := route{shut: []netip.AddrPort{nodeAddress(r.Second.Port)}}
	for _, rep := range r.Replicas {
		way.shut = append(way.shut, nodeAddress(rep.Port))
	}
	return in.sendAway(ctx, r, way)
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
