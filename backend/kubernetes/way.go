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
	in     *instance
	pod    string // the one node to get into; empty: whichever is the primary
	reads  bool   // to who serves reads

	mu   sync.Mutex
	leaf string // the certificate that was proved last
}

// into is the node with that way in.
func (in *instance) into(r record, w wish) (engine.Node, *way) {
	n := in.b.node(r, w.spec, w.image)
	way := &way{b: in.b, engine: in.b.Engines[w.spec.Engine].(engine.Hosted), record: r, in: in}
	n.Admin = engine.Admin{User: "postgres", Secret: way.secret, Dial: way.dial, Lock: way.lock}
	return n, way
}

// intoPod is one of the instance's nodes, with a way into that.
func (in *instance) intoPod(r record, w wish, pod string) engine.Node {
	n, way := in.into(r, w)
	way.pod = pod
	n.Replication = &engine.Replication{Name: pod} // as the operator has it known to the primary
	return n
}

// lock is all that engine.Admin.Lock takes: only one of us has a record.
func (w *way) lock(context.Context) (unlock func() error, err error) {
	w.in.users.Lock()
	return func() error { w.in.users.Unlock(); return nil }, nil
}

// kept is a value of a Secret that the operator has made for the instance. It is asked for again when nobody gets in
// with it, and holds on where the cluster does not answer then.
func (w *way) kept(suffix, name string) ([]byte, error) {
	k := &w.in.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	key := suffix + "/" + name
	known, isKnown := k.values[key]
	if isKnown && !k.doubted {
		return known, nil
	}
	o, err := w.b.get(w.b.ctx, secrets, nameOf(w.record.Spec.Instance)+suffix)
	switch {
	case err != nil && isKnown:
		return known, nil
	case err != nil:
		return nil, err
	case o == nil:
		return nil, backstay.Errorf(backstay.Unavailable, "The service instance is being prepared.")
	}
	encoded, _, _ := unstructured.NestedString(o.Object, "data", name)
	value, err := base64.StdEncoding.DecodeString(encoded)
	if err == nil {
		k.put(key, value)
	}
	return value, err
}

// keptValues are values of Secrets that others have made, as they were when they were read last.
type keptValues struct {
	mu      sync.Mutex
	values  map[string][]byte
	doubted bool // each is to be read again
}

// put notes a value that was just read. With it the others are read again as well, if they are in doubt.
func (k *keptValues) put(key string, value []byte) {
	if k.doubted || k.values == nil {
		k.values, k.doubted = map[string][]byte{}, false
	}
	k.values[key] = value
}

func (k *keptValues) doubt() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.doubted = true
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
	conn, err := w.reach(ctx, address)
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

// reach connects to the address, or to the one node: no address leads to that.
func (w *way) reach(ctx context.Context, address string) (net.Conn, error) {
	switch {
	case w.pod != "" && w.b.Forwards == nil:
		return nil, backstay.Errorf(backstay.Unavailable, "No way leads to the nodes of the service instance.")
	case w.pod != "":
		return w.b.Forwards(ctx, w.b.Namespace, w.pod, serverPort)
	case w.b.Dial != nil:
		return w.b.Dial(ctx, "tcp", address)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
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
	if reads := w.b.reads(w.record); w.reads || w.pod != "" && reads.Host != "" { // who reads from it asks for that proof
		e = reads
	}
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
