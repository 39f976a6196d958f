package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/backstay/backstay/engine/door"
)

// upstream is the OpenSearch of the node.
type upstream struct {
	runDir string
	tls    *tls.Config
	log    io.Writer
	there  atomic.Bool // it was, when somebody last went to it
}

func newUpstream(dataDir string, c Config, log io.Writer) (*upstream, error) {
	text, err := os.ReadFile(filepath.Join(dataDir, c.Authority))
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", c.Authority)
	}
	made := filepath.Join(dataDir, ConfigDir) // where the key stays, which the server cannot read there
	own, err := tls.LoadX509KeyPair(filepath.Join(made, LeafFile), filepath.Join(made, KeyFile))
	if err != nil {
		return nil, err
	}
	return &upstream{runDir: c.RunDir, log: log, tls: &tls.Config{
		Certificates: []tls.Certificate{own}, RootCAs: trusted, ServerName: c.Name, MinVersion: tls.VersionTLS12,
	}}, nil
}

// Dial connects to where the server of a node says that it listens, which proves itself there.
func Dial(ctx context.Context, runDir string) (net.Conn, error) {
	text, err := os.ReadFile(filepath.Join(runDir, LogDir, ports))
	if err != nil {
		return nil, err
	}
	address, _, _ := strings.Cut(string(text), "\n")
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// dial connects to where the server says that it listens.
func (u *upstream) dial(ctx context.Context) (net.Conn, error) {
	conn, err := Dial(ctx, u.runDir)
	if err != nil {
		u.there.Store(false)
		return nil, err
	}
	if !u.there.Load() {
		if err := u.meet(ctx, conn); err != nil {
			return nil, err
		}
		return u.dial(ctx)
	}
	return conn, nil
}

// meet has the server prove who it is on a connection that is for nothing else. It has read its key then, which the
// file system need not hold any more: what the server may read, users can have it read as a list of words.
func (u *upstream) meet(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	if err := tls.Client(conn, u.tls).HandshakeContext(ctx); err != nil {
		return err
	}
	if u.there.Swap(true) {
		return nil // somebody else has met it
	}
	fmt.Fprintln(u.log, Said+Serves)
	if err := os.Remove(filepath.Join(u.runDir, ConfigDir, KeyFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// secure is dial for what the front itself says.
func (u *upstream) secure(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := u.dial(ctx)
	if err != nil {
		return nil, err
	}
	client := tls.Client(conn, u.tls)
	if err := client.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return client, nil
}

// splice leads each who connects to the server, as if there were nothing between them, until the listener is closed.
func (u *upstream) splice(ctx context.Context, l net.Listener) error {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		near, err := door.Accept(ctx, l)
		if err != nil {
			return err
		}
		all.Go(func() {
			defer near.Close()
			far, err := u.dial(ctx)
			if err != nil {
				return // who asks learns that nobody answers
			}
			defer far.Close()
			defer context.AfterFunc(ctx, func() { near.Close(); far.Close() })()
			var back sync.WaitGroup
			back.Go(func() { io.Copy(near, far); near.Close() })
			io.Copy(far, near)
			far.Close()
			back.Wait()
		})
	}
}
