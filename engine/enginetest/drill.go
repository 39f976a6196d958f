package enginetest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
)

func drillable(t *testing.T, e engine.Engine) engine.Drillable {
	t.Helper()
	d, ok := e.(engine.Drillable)
	if !ok {
		t.Skip("the engine is not drillable")
	}
	return d
}

// drillLogin comes in by the node's endpoint.
func drillLogin(n engine.Node, password backstay.Secret) engine.DrillLogin {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(n.TLS.Authority))
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(n.Endpoint.Port))
	return engine.DrillLogin{
		Password: password, TLS: &tls.Config{RootCAs: roots, ServerName: n.Endpoint.Host},
		Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", address) },
	}
}

// testDrill writes as a drill does: what was acknowledged is there after a kill, and nothing is left in the end. A
// server that acknowledges what it has not written yet, as Redis does while a disk is slow, is ended instead.
func testDrill(t *testing.T, s Subject) {
	d := drillable(t, s.Engine)
	n := s.newNode(t)
	by := Serve(t, s.Engine, n)
	if err := d.DismissDriller(t.Context(), n); err != nil {
		t.Errorf("dismiss where there is none: %v", err)
	}
	mustAdmit(t, d, n, "first")
	mustAdmit(t, d, n, "second")
	if session, err := d.OpenDrill(t.Context(), n, drillLogin(n, "first")); err == nil {
		session.Close()
		t.Error("a password that was replaced lets in")
	}
	session := mustOpenDrill(t, d, n, "second")
	for number := range int64(5) {
		if err := session.Keep(t.Context(), number+1); err != nil {
			t.Fatal(err)
		}
	}
	wantKept(t, session, 5)
	if s.Asynchronous {
		by.Stop(t)
	} else {
		by.Kill(t)
	}
	if err := process.KillIn(filepath.Dir(n.DataDir)); err != nil { // a session may outlive the first process
		t.Fatal(err)
	}
	if err := session.Keep(t.Context(), 6); err == nil {
		t.Error("a server that was killed acknowledges a write")
	}
	session.Close()
	Start(t, s.Engine, n)
	session = mustOpenDrill(t, d, n, "second")
	wantKept(t, session, 5)
	session.Close()

	mustAdmit(t, d, n, "third")
	session = mustOpenDrill(t, d, n, "third")
	if number, err := session.Kept(t.Context()); number != 0 {
		t.Errorf("another drill finds %d, %v", number, err)
	}
	session.Close()
	for range 2 {
		if err := d.DismissDriller(t.Context(), n); err != nil {
			t.Errorf("dismiss: %v", err)
		}
	}
	if session, err := d.OpenDrill(t.Context(), n, drillLogin(n, "third")); err == nil {
		session.Close()
		t.Error("who was dismissed is let in")
	}
}

// testDrillFollows has a standby take over from which a drill reads: it knows the user, and what was acknowledged.
func testDrillFollows(t *testing.T, s Subject) {
	d := drillable(t, s.Engine)
	p := s.pair(t)
	if !s.Asynchronous {
		p.Protect(t)
	}
	mustAdmit(t, d, p.Primary(), "secret")
	if err := p.mirror(t.Context()); err != nil {
		t.Fatal(err)
	}
	session := mustOpenDrill(t, d, p.Primary(), "secret")
	if err := session.Keep(t.Context(), 42); err != nil {
		t.Fatal(err)
	}
	session.Close()
	if err := p.HandOver(t.Context(), p.Primary(), p.Standby()); err != nil {
		t.Fatalf("HandOver: %v", err)
	}
	p.EndPrimary(t)
	p.FailOver(t)
	await(t, "a login by which a drill goes on", func() bool { // clients may be let in by a companion, which comes behind
		var err error
		session, err = d.OpenDrill(t.Context(), p.Primary(), drillLogin(p.Primary(), "secret"))
		return err == nil
	})
	wantKept(t, session, 42)
	session.Close()
	if err := d.DismissDriller(t.Context(), p.Primary()); err != nil {
		t.Errorf("dismiss: %v", err)
	}
}

// testDrillIsNotRestored restores a backup that was taken in the middle of a drill: nothing of that is in what serves.
func testDrillIsNotRestored(t *testing.T, s Subject) {
	d, a := drillable(t, s.Engine), s.archiver(t)
	n := s.newNode(t)
	Serve(t, s.Engine, n)
	mustAdmit(t, d, n, "secret")
	session := mustOpenDrill(t, d, n, "secret")
	defer session.Close()
	if err := session.Keep(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	b := a.mustBackup(t, n)
	copied := a.restored(t, engine.Point{Backup: b.ID, Alone: true})
	if session, err := d.OpenDrill(t.Context(), copied, drillLogin(copied, "secret")); err == nil {
		session.Close()
		t.Error("who writes in a drill of the source is let in to the copy")
	}
	mustAdmit(t, d, copied, "another")
	own := mustOpenDrill(t, d, copied, "another")
	defer own.Close()
	if number, err := own.Kept(t.Context()); number != 0 {
		t.Errorf("a drill of the copy finds %d, %v", number, err)
	}
	wantKept(t, session, 7)
}

func mustAdmit(t *testing.T, d engine.Drillable, n engine.Node, password backstay.Secret) {
	t.Helper()
	if err := d.AdmitDriller(t.Context(), n, password); err != nil {
		t.Fatal(err)
	}
}

func mustOpenDrill(t *testing.T, d engine.Drillable, n engine.Node, password backstay.Secret) engine.DrillSession {
	t.Helper()
	session, err := d.OpenDrill(t.Context(), n, drillLogin(n, password))
	if err != nil {
		t.Fatalf("log in as a drill does: %v", err)
	}
	return session
}

func wantKept(t *testing.T, session engine.DrillSession, number int64) {
	t.Helper()
	if kept, err := session.Kept(t.Context()); kept != number || err != nil {
		t.Errorf("a drill finds %d, %v, and %d was acknowledged", kept, err, number)
	}
}

// BeginDrill admits who writes in a drill, and returns the session in which something was written.
func BeginDrill(t *testing.T, e engine.Engine, n engine.Node) engine.DrillSession {
	t.Helper()
	d := drillable(t, e)
	mustAdmit(t, d, n, "secret")
	session := mustOpenDrill(t, d, n, "secret")
	t.Cleanup(session.Close)
	if err := session.Keep(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return session
}
