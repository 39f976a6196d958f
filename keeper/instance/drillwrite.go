package instance

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/node"
)

const (
	drillPause = 5 * time.Millisecond // between two writes
	drillLimit = 5 * time.Second      // that one may take, with its login, before another is tried
	drillAfter = 30 * time.Second     // that it may take until writes are acknowledged, once the instance serves
	drillMost  = 10 * time.Minute     // that a drill may take in all
)

// tally is what a drill has seen. It is kept in a file, for a keeper that comes after one that was killed.
type tally struct {
	Kept    int64 // the number that was acknowledged last, or read
	Written int64
	Lost    int64
	At      int64 // when a write was acknowledged last, in nanoseconds since 1970
	Longest int64 // between two of them, in nanoseconds
	Erased  bool  // clients have deleted what was written
}

// find takes what is there in a new session: what was acknowledged and is not is lost. What is there though nobody was
// told counts as acknowledged from then on.
func (t *tally) find(number int64) {
	t.Lost += max(0, t.Kept-number)
	t.Kept = number
}

// tell notes that the next number was acknowledged, so long after the one before.
func (t *tally) tell(at time.Time, after time.Duration) {
	t.Kept++
	t.Written++
	t.At, t.Longest = at.UnixNano(), max(t.Longest, int64(after))
}

// drillWriter writes to the instance as a client does, one number after the other, and looks in each session that it
// begins for the one that was acknowledged before.
type drillWriter struct {
	in      *Instance
	session engine.DrillSession // nil: there is none
	tally   tally
	last    time.Time // when a write was acknowledged last
	resumed bool      // by a keeper that came after
	file    *os.File
	trouble string // why nothing, or not all, could be seen
}

// begin writes for the first time.
func (w *drillWriter) begin(ctx context.Context) (err error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_TRUNC
	if w.file, err = os.OpenFile(w.in.m.Records.drillPath(w.in.ID), flags, 0o600); err != nil {
		return err
	}
	return w.next(ctx)
}

// resume reads what an earlier keeper has seen.
func (w *drillWriter) resume() (err error) {
	if w.file, err = os.OpenFile(w.in.m.Records.drillPath(w.in.ID), os.O_RDWR, 0o600); err != nil {
		return err
	}
	text := make([]byte, binary.Size(w.tally))
	if _, err := w.file.ReadAt(text, 0); err != nil {
		return err
	}
	w.resumed = true
	err = binary.Read(bytes.NewReader(text), binary.LittleEndian, &w.tally)
	w.last = time.Unix(0, w.tally.At)
	return err
}

func (w *drillWriter) close() {
	w.endSession()
	if w.file != nil {
		w.file.Close()
	}
}

func (w *drillWriter) endSession() {
	if w.session != nil {
		w.session.Close()
	}
	w.session = nil
}

// write writes until a write was acknowledged that began once the drill was over.
func (w *drillWriter) write(ctx context.Context, over <-chan struct{}) {
	began, ended := w.in.m.Now(), time.Time{}
	for wait.Pause(ctx, drillPause) == nil {
		select {
		case <-over:
			if ended.IsZero() {
				ended = w.in.m.Now()
			}
		default:
		}
		limited, cancel := context.WithTimeout(ctx, drillLimit)
		err := w.next(limited)
		cancel()
		now := w.in.m.Now()
		switch {
		case err == nil && !ended.IsZero():
			return
		case !ended.IsZero() && now.Sub(ended) >= drillAfter, now.Sub(began) >= drillMost:
			w.tally.Longest = max(w.tally.Longest, int64(now.Sub(w.last)))
			w.trouble = "At the end, writes were not acknowledged yet."
			return
		}
	}
}

// next writes the next number, in a new session where the last one has ended.
func (w *drillWriter) next(ctx context.Context) error {
	if w.session == nil {
		if err := w.open(ctx); err != nil {
			return err
		}
	}
	if err := w.session.Keep(ctx, w.tally.Kept+1); err != nil {
		w.endSession()
		return err
	}
	w.acknowledged(w.in.m.Now())
	return nil
}

// open logs in, and looks for what was acknowledged.
func (w *drillWriter) open(ctx context.Context) error {
	r := w.in.Record()
	n, err := w.in.m.node(r, r.spec(r.Started))
	if err != nil {
		return err
	}
	e, ok := n.Engine.(engine.Drillable)
	if !ok || r.Drill == nil {
		return w.in.noEngine()
	}
	session, err := e.OpenDrill(ctx, n.Node, w.in.m.drillLogin(n, r.Drill.Password))
	if err != nil {
		return err
	}
	switch found, err := session.Kept(ctx); {
	case errors.Is(err, engine.ErrErased):
		w.tally.Erased = w.tally.Kept > 0
	case err != nil:
		session.Close()
		return err
	default:
		w.tally.find(found)
	}
	w.session = session
	return nil
}

// acknowledged notes a write. What is written to the file outlives our end, if not the machine's, which is enough.
func (w *drillWriter) acknowledged(now time.Time) {
	w.tally.tell(now, now.Sub(cmp.Or(w.last, now)))
	w.last = now
	var text bytes.Buffer
	err := binary.Write(&text, binary.LittleEndian, w.tally)
	if err == nil {
		_, err = w.file.WriteAt(text.Bytes(), 0)
	}
	if err != nil {
		w.in.log.Warn("it cannot be noted what a drill has seen", "error", err)
	}
}

// seen is what the drill has seen.
func (w *drillWriter) seen(d Drill) backend.Drill {
	r := w.in.Record()
	trouble := w.trouble
	switch {
	case w.tally.Erased:
		trouble = cmp.Or(trouble, "Clients had deleted what it wrote: more than that may have been lost.")
	case w.resumed:
		trouble = cmp.Or(trouble, "The keeper was started again meanwhile: writes failed for that long at most.")
	}
	return backend.Drill{
		Generation: d.Generation, Began: d.Began, Ended: w.in.m.Now().UTC(), Failed: time.Duration(w.tally.Longest),
		Written: w.tally.Written, Lost: w.tally.Lost, Node: r.Place.name(), Changed: r.Place.name() != d.Node,
		Trouble: trouble,
	}
}

// drillLogin comes in by the endpoint, where this machine reaches it, and knows it by its certificate.
func (m *Machine) drillLogin(n node.Node, password backstay.Secret) engine.DrillLogin {
	address := net.JoinHostPort(m.reached(), strconv.Itoa(n.Endpoint.Port))
	return engine.DrillLogin{
		Password: password,
		Dial:     func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", address) },
		TLS:      &tls.Config{RootCAs: rootsOf(n.TLS), ServerName: n.Endpoint.Host},
	}
}

// reached is an address of this machine at which endpoints are.
func (m *Machine) reached() string {
	for _, address := range m.Listen {
		at, err := netip.ParseAddr(address)
		switch {
		case err != nil:
		case !at.IsUnspecified():
			return address
		case at.Is6():
			return netip.IPv6Loopback().String()
		}
	}
	return loopback
}

// rootsOf are the authorities that prove a certificate. One that the operator has got elsewhere proves itself.
func rootsOf(c backstay.Certificate) *x509.CertPool {
	roots := x509.NewCertPool()
	if c.Authority == "" {
		if system, err := x509.SystemCertPool(); err == nil {
			roots = system
		}
	}
	roots.AppendCertsFromPEM([]byte(c.Authority))
	roots.AppendCertsFromPEM([]byte(c.Leaf))
	return roots
}
