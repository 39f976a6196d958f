package broker_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/keepertest"
	"github.com/backstay/backstay/pki"
	"github.com/backstay/backstay/pki/pkitest"
)

// renamed is a backend whose endpoints get another name.
type renamed struct {
	backend.Backend
	host string // empty: they have not
}

func (r *renamed) Names(ctx context.Context, s backend.Spec) ([]string, error) {
	names, err := r.Backend.Names(ctx, s)
	if r.host != "" {
		names[0] = r.host
	}
	return names, err
}

// certified is a house with an instance and a session in it that must never end, at a time that the test sets.
type certified struct {
	*house
	backend *renamed
	request backstay.ProvisionRequest
	ahead   atomic.Int64 // how far the broker's clock is ahead of ours, as a time.Duration
	session *pgx.Conn
	address string
}

func newCertified(t *testing.T) *certified {
	t.Helper()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 1))
	c := &certified{backend: &renamed{Backend: instances}}
	c.house = newHouse(t, c.backend)
	c.Now = func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }
	c.runJobs(t)
	c.request = c.serve(t)
	_, credentials := c.bind(t, c.request)
	var err error
	c.session, err = connect(t, credentials)
	must(t, err)
	c.address = net.JoinHostPort("127.0.0.1", fmt.Sprint(credentials["port"]))
	return c
}

// renews renews what is due and returns when the instance serves as the generation that follows from it.
func (c *certified) renews(t *testing.T, generation int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if left, err := c.RenewCertificates(ctx); left != 0 || err != nil {
		t.Fatalf("%d are left, %v", left, err)
	}
	wantHeldSoon(t, c.backend, c.request.InstanceID, generation)
	for s := (backend.Status{}); s.Generation < generation; {
		var err error
		s, err = c.backend.Await(ctx, c.request.InstanceID, s.Revision)
		must(t, err)
	}
	for busy := true; busy; time.Sleep(time.Millisecond) {
		in, err := c.Store.Instance(ctx, c.request.InstanceID)
		must(t, err)
		busy = in.Busy
	}
	var pid int
	must(t, c.session.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid)) // it was never ended
}

func wantHeldSoon(t *testing.T, its backend.Backend, id backstay.InstanceID, generation int64) {
	t.Helper()
	var held map[backstay.InstanceID]int64
	for deadline := time.Now().Add(limit); held[id] < generation && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var err error
		held, err = its.Held(t.Context())
		must(t, err)
	}
	wantHeld(t, its, id, generation)
}

// presented is the chain that a client sees.
func (c *certified) presented(t *testing.T) []*x509.Certificate {
	t.Helper()
	conn, err := net.Dial("tcp", c.address)
	must(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}) // SSLRequest
	must(t, err)
	_, err = conn.Read(make([]byte, 1))
	must(t, err)
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	must(t, secure.Handshake())
	return secure.ConnectionState().PeerCertificates
}

func TestCertificatesAreRenewed(t *testing.T) {
	t.Parallel()
	c := newCertified(t)
	first := c.presented(t)[0]
	c.renews(t, 1)
	if !c.presented(t)[0].Equal(first) {
		t.Error("a fresh certificate was renewed")
	}

	c.ahead.Store(int64(time.Until(first.NotAfter.AddDate(0, -6, 0))))
	c.renews(t, 2)
	second := c.presented(t)[0]
	if !second.NotAfter.After(first.NotAfter.AddDate(2, 0, 0)) || !slices.Equal(second.DNSNames, first.DNSNames) {
		t.Errorf("renewed until %v for %v; before, until %v for %v",
			second.NotAfter, second.DNSNames, first.NotAfter, first.DNSNames)
	}
	c.renews(t, 2)

	c.backend.host = "db.example.org"
	c.renews(t, 3)
	for _, name := range []string{"db.example.org", "localhost", "127.0.0.1"} {
		must(t, c.presented(t)[0].VerifyHostname(name))
	}
	fetched, err := c.FetchInstance(t.Context(), backstay.FetchInstanceRequest{InstanceID: c.request.InstanceID})
	must(t, err)
	if fetched.PlanID != c.request.PlanID {
		t.Errorf("it has plan %s now, want %s", fetched.PlanID, c.request.PlanID)
	}
	op, err := c.LastOperation(t.Context(), backstay.LastOperationRequest{InstanceID: c.request.InstanceID})
	if err != nil || op.Type != backstay.Create {
		t.Errorf("users see %+v, %v; want the create that they have asked for", op, err)
	}
}

// TestTheOperatorsCertificate brings a certificate to an instance that has one of our authority, renews it, and takes
// it back.
func TestTheOperatorsCertificate(t *testing.T) {
	t.Parallel()
	c := newCertified(t)
	authority, public, dir := c.Certifier, pkitest.NewPublic(t), t.TempDir()
	certificate, key := public.Issue(t, c.Now().AddDate(0, 1, 0), "localhost").Write(t, dir)
	pair, err := pki.OpenPair(certificate, key, "localhost", c.Now())
	must(t, err)
	c.Certifier = pair
	c.renews(t, 2)
	wantPublic := func() *x509.Certificate {
		t.Helper()
		chain := c.presented(t)
		pool, roots := x509.NewCertPool(), x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(public.Root))
		for _, between := range chain[1:] {
			pool.AddCert(between)
		}
		_, err := chain[0].Verify(x509.VerifyOptions{DNSName: "localhost", Roots: roots, Intermediates: pool})
		must(t, err)
		return chain[0]
	}
	before := wantPublic()
	if _, credentials := c.bind(t, c.request); credentials["ca_certificate"] != nil {
		t.Errorf("credentials name the authority %v", credentials["ca_certificate"])
	}

	public.Issue(t, c.Now().AddDate(0, 2, 0), "localhost").Write(t, dir)
	if changed, err := pair.Refresh(c.Now()); !changed || err != nil {
		t.Fatalf("changed %t, %v", changed, err)
	}
	c.renews(t, 3)
	if wantPublic().Equal(before) {
		t.Error("the renewed files are not in force")
	}

	c.Certifier = authority
	c.renews(t, 4)
	if chain := c.presented(t); chain[0].Issuer.CommonName != "Backstay authority" {
		t.Errorf("it is certified by %v", chain[0].Issuer)
	}
}

// TestRenewalStandsInNobodysWay leaves alone what does not serve: who wants to change it is not to be kept waiting.
func TestRenewalStandsInNobodysWay(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 1))
	h := newHouse(t, unwell{instances})
	h.runJobs(t)
	r := h.serve(t)
	h.Now = func() time.Time { return time.Now().AddDate(2, 9, 0) }
	if left, err := h.RenewCertificates(t.Context()); left != 1 || err != nil {
		t.Errorf("%d are left, %v; want the one", left, err)
	}
	wantHeld(t, instances, r.InstanceID, 1)
}

// unwell is a backend whose instances are told not to serve once nobody waits for them.
type unwell struct{ backend.Backend }

func (u unwell) Await(ctx context.Context, id backstay.InstanceID, revision int64) (backend.Status, error) {
	s, err := u.Backend.Await(ctx, id, revision)
	if revision == 0 && s.Generation == 1 {
		s.Phase = backend.Failing
	}
	return s, err
}
