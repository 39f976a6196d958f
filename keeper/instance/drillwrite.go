package instance

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/drill"
	"github.com/backstay/backstay/keeper/node"
)

// drillWriter writes what a drill has seen to a file, for a keeper that comes after one that was killed.
type drillWriter struct {
	drill.Writer
	in   *Instance
	file *os.File
}

func (in *Instance) newDrillWriter() *drillWriter {
	w := &drillWriter{in: in}
	w.Writer = drill.Writer{Open: w.open, Note: w.note, Now: in.m.Now}
	return w
}

// begin writes for the first time.
func (w *drillWriter) begin(ctx context.Context) (err error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_TRUNC
	if w.file, err = os.OpenFile(w.in.m.Records.drillPath(w.in.ID), flags, 0o600); err != nil {
		return err
	}
	return w.Begin(ctx)
}

// resume reads what an earlier keeper has seen.
func (w *drillWriter) resume() (err error) {
	if w.file, err = os.OpenFile(w.in.m.Records.drillPath(w.in.ID), os.O_RDWR, 0o600); err != nil {
		return err
	}
	var t drill.Tally
	text := make([]byte, binary.Size(t))
	if _, err := w.file.ReadAt(text, 0); err != nil {
		return err
	}
	err = binary.Read(bytes.NewReader(text), binary.LittleEndian, &t)
	w.Resume(t, "The keeper was started again meanwhile: writes failed for that long at most.")
	return err
}

func (w *drillWriter) close() {
	w.Close()
	if w.file != nil {
		w.file.Close()
	}
}

// open logs in.
func (w *drillWriter) open(ctx context.Context) (engine.DrillSession, error) {
	r := w.in.Record()
	n, err := w.in.m.node(r, r.spec(r.Started))
	if err != nil {
		return nil, err
	}
	e, ok := n.Engine.(engine.Drillable)
	if !ok || r.Drill == nil {
		return nil, w.in.noEngine()
	}
	return e.OpenDrill(ctx, n.Node, w.in.m.drillLogin(n, r.Drill.Password))
}

// note keeps what was seen. What is written to the file outlives our end, if not the machine's, which is enough.
func (w *drillWriter) note(t drill.Tally) {
	var text bytes.Buffer
	err := binary.Write(&text, binary.LittleEndian, t)
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
	return w.Seen(backend.Drill{
		Generation: d.Generation, Began: d.Began, Node: r.Place.name(), Changed: r.Place.name() != d.Node,
	})
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
