package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// way is how the platform gets into an instance to administer it: to the address that is in credentials, as the
// superuser whose password the operator keeps.
type way struct {
	b      *Backend
	engine engine.Hosted
	record record

	users *sync.Mutex // see engine.Admin.Lock: only one of us has a record
	mu    sync.Mutex
	leaf  string // the certificate that was proved last
}

// into is the node with that way in.
func (b *Backend) into(r record, w wish, users *sync.Mutex) (engine.Node, *way) {
	n := b.node(r, w.spec, w.image)
	in := &way{b: b, engine: b.Engines[w.spec.Engine].(engine.Hosted), record: r, users: users}
	n.Admin = engine.Admin{User: "postgres", Secret: in.secret, Dial: in.dial, Lock: in.lock}
	return n, in
}

func (w *way) lock(context.Context) (unlock func() error, err error) {
	w.users.Lock()
	return func() error { w.users.Unlock(); return nil }, nil
}

// kept is a value of a Secret that the operator has made for the instance.
func (w *way) kept(suffix, name string) ([]byte, error) {
	o, err := w.b.get(w.b.ctx, secrets, nameOf(w.record.Spec.Instance)+suffix)
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, backstay.Errorf(backstay.Unavailable, "The service instance is being prepared.")
	}
	encoded, _, _ := unstructured.NestedString(o.Object, "data", name)
	return base64.StdEncoding.DecodeString(encoded)
}

func (w *way) secret() (backstay.Secret, error) {
	password, err := w.kept("-superuser", "password")
	return backstay.Secret(password), err
}

func (w *way) dial(ctx context.Context) (net.Conn, error) {
	address, config, err := w.address()
	if err != nil {
		return nil, err
	}
	dial := w.b.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	secured, err := w.engine.Secure(ctx, conn, config)
	if err != nil {
		conn.Close()
		return nil, err
	}
	leaf := pem.EncodeToMemory(&pem.Block{
		Type: "CERTIFICATE", Bytes: secured.ConnectionState().PeerCertificates[0].Raw,
	})
	w.mu.Lock()
	w.leaf = string(leaf)
	w.mu.Unlock()
	return secured, nil
}

// address is where the server is reached, and what it has to prove: a certificate of the one wanted authority, or of
// the one before until the server has read the new one. One without an endpoint has a certificate of the operator's.
func (w *way) address() (address string, config *tls.Config, err error) {
	spec := w.record.Spec
	trusted := x509.NewCertPool()
	if spec.Private {
		authority, err := w.kept("-ca", "ca.crt")
		if err != nil {
			return "", nil, err
		}
		trusted.AppendCertsFromPEM(authority)
		address = net.JoinHostPort(w.b.service(spec.Instance), strconv.Itoa(serverPort))
		return address, &tls.Config{RootCAs: trusted, ServerName: nameOf(spec.Instance) + "-rw"}, nil
	}
	trusted.AppendCertsFromPEM([]byte(spec.TLS.Authority))
	if w.record.Reached != nil {
		trusted.AppendCertsFromPEM([]byte(w.record.Reached.TLS.Authority))
	}
	e := w.b.endpoint(w.record)
	return net.JoinHostPort(e.Host, strconv.Itoa(e.Port)), &tls.Config{RootCAs: trusted, ServerName: e.Host}, nil
}

// proved tells whether the certificate that was proved last is that one.
func (w *way) proved(c backstay.Certificate) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	proved, _ := pem.Decode([]byte(w.leaf))
	wanted, _ := pem.Decode([]byte(c.Leaf))
	return proved != nil && wanted != nil && string(proved.Bytes) == string(wanted.Bytes)
}
