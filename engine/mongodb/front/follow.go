package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/engine/door"
	"github.com/backstay/backstay/engine/pgserver"
)

// followersProtocol is what PostgreSQL's servers that follow name within TLS. No client of MongoDB names any.
const followersProtocol = "postgresql"

// followersConfig is TLS for those who follow: they prove that they are nodes of the instance.
func followersConfig(path string) (*tls.Config, error) {
	c, err := door.ReadConfig[Config](path)
	if err != nil {
		return nil, err
	}
	if c.Followers == "" {
		return nil, errors.New("the node is the only one of its instance")
	}
	authority, err := os.ReadFile(filepath.Join(filepath.Dir(path), c.Followers))
	if err != nil {
		return nil, err
	}
	nodes := x509.NewCertPool()
	if !nodes.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s holds no certificate", c.Followers)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{followersProtocol}, SessionTicketsDisabled: true,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: nodes,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate(path) },
	}, nil
}

// lastCommits is for how long nodes may follow once clients are let in no more. What these have asked for last is
// committed only when the standby has it, and FerretDB does not end before that.
const lastCommits = 100 * time.Millisecond

// letFollow leads a node of this machine to PostgreSQL, for as long as it follows.
func (s *session) letFollow(ctx context.Context) {
	ctx, end := outlive(ctx, lastCommits)
	defer end()
	if !isOfThisMachine(s.client.NetConn()) || s.server.onlyReads() { // it is the primary that is followed
		return
	}
	start, err := readStart(s.client)
	if err != nil {
		return
	}
	s.client.SetDeadline(time.Time{})
	var d net.Dialer
	server, err := d.DialContext(ctx, "unix", pgserver.Socket(s.server.config.RunDir, 0))
	if err != nil {
		return
	}
	if _, err := server.Write(start); err != nil {
		server.Close()
		return
	}
	pgserver.Join(ctx, s.client, server)
}

// outlive returns a context that ends some time after its parent, or with end.
func outlive(parent context.Context, by time.Duration) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() { time.AfterFunc(by, cancel) })
	return ctx, func() { stop(); cancel() }
}

// isOfThisMachine tells whether both ends of a connection have the same address.
func isOfThisMachine(conn net.Conn) bool {
	here, isTCP := conn.LocalAddr().(*net.TCPAddr)
	there, wasTCP := conn.RemoteAddr().(*net.TCPAddr)
	return isTCP && wasTCP && here.IP.Equal(there.IP)
}

// longestStart is more than a node says at first.
const longestStart = 10000

var errNoFollower = errors.New("it does not ask to follow")

// readStart reads what a client of PostgreSQL's says at first, which must be that it is the administrator and follows:
// the socket lets the node's own processes in for more than that.
func readStart(from io.Reader) (start []byte, err error) {
	const head = 8 // its length, and the version of the protocol
	start = make([]byte, head)
	if _, err := io.ReadFull(from, start); err != nil {
		return nil, err
	}
	length, major := binary.BigEndian.Uint32(start), binary.BigEndian.Uint16(start[4:])
	if length < head || length > longestStart || major != 3 {
		return nil, errNoFollower
	}
	start = append(start, make([]byte, length-head)...)
	if _, err := io.ReadFull(from, start[head:]); err != nil {
		return nil, err
	}
	says := map[string]string{}
	words := strings.Split(string(start[head:]), "\x00")
	for i := 0; i+1 < len(words); i += 2 {
		if _, twice := says[words[i]]; twice {
			return nil, errNoFollower
		}
		says[words[i]] = words[i+1]
	}
	if says["user"] != pgserver.Admin || says["replication"] != "true" {
		return nil, errNoFollower
	}
	return start, nil
}
