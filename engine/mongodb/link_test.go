package mongodb_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/pki"
)

// TestLinkLetsNobodyElseIn wants nobody to be led to PostgreSQL by the port of clients but whoever has the link's key, and
// that one for replication alone.
func TestLinkLetsNobodyElseIn(t *testing.T) {
	t.Parallel()
	needFerretDB(t)
	p := enginetest.NewPair(t, tested, "")
	p.Protect(t)
	n := p.Primary()
	c, err := tested.CreateUser(t.Context(), n, engine.User{Name: "u1", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	client, err := dial(c)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(context.Background())
	if _, err := client.Database("main").Collection("kept").InsertOne(t.Context(), bson.M{"x": 1}); err != nil {
		t.Fatal(err)
	}
	stranger, err := pki.NewLink(string(n.Instance), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	unproved := backstay.Certificate{}
	for _, tc := range []struct {
		name, user, replication string
		proof                   backstay.Certificate
		isLetIn                 bool
	}{
		{"a binding", "u1", "true", unproved, false},
		{"a binding with the link's key", "u1", "true", n.Replication.Link, false},
		{"FerretDB's role", "writer", "", unproved, false},
		{"FerretDB's role with the link's key", "writer", "", n.Replication.Link, false},
		{"the administrator without a key", "backstay", "true", unproved, false},
		{"the administrator with a stranger's key", "backstay", "true", stranger, false},
		{"a session with the link's key", "backstay", "", n.Replication.Link, false},
		{"logical replication with the link's key", "backstay", "database", n.Replication.Link, false},
		{"a node", "backstay", "true", n.Replication.Link, true},
	} {
		conn, err := pgx.ConnectConfig(t.Context(), linkConfig(t, n, tc.user, tc.replication, tc.proof))
		if err == nil {
			conn.Close(context.Background())
		}
		if (err == nil) != tc.isLetIn {
			t.Errorf("%s: %v, want it to be let in: %t", tc.name, err, tc.isLetIn)
		}
	}
	own := linkConfig(t, p.Standby(), "backstay", "true", n.Replication.Link)
	if conn, err := pgx.ConnectConfig(t.Context(), own); err == nil {
		conn.Close(context.Background())
		t.Error("a node that follows is followed")
	}
	if f, err := p.Follows(t.Context(), p.Primary(), p.Standby()); err != nil || !f.Streams {
		t.Errorf("after all that: %+v, %v", f, err)
	}
}

// TestTheOnlyNodeIsNotFollowed wants the port of an instance of one node to lead nobody to PostgreSQL.
func TestTheOnlyNodeIsNotFollowed(t *testing.T) {
	t.Parallel()
	n, _, _ := serving(t)
	link, err := pki.NewLink(string(n.Instance), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := pgx.ConnectConfig(t.Context(), linkConfig(t, n, "backstay", "true", link)); err == nil {
		conn.Close(context.Background())
		t.Error("somebody may follow")
	}
}

// linkConfig comes as a node does that follows.
func linkConfig(t *testing.T, n engine.Node, user, replication string, proof backstay.Certificate) *pgx.ConnConfig {
	t.Helper()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(n.Endpoint.Port))
	cfg, err := pgx.ParseConfig("postgres://" + address + "/postgres?sslmode=require&sslnegotiation=direct")
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(n.TLS.Authority))
	cfg.User, cfg.Fallbacks = user, nil
	cfg.TLSConfig = &tls.Config{RootCAs: trusted, ServerName: n.Endpoint.Host, NextProtos: []string{"postgresql"},
		MinVersion: tls.VersionTLS12}
	if proof.Leaf != "" {
		pair, err := tls.X509KeyPair([]byte(proof.Leaf), []byte(proof.Key.Reveal()))
		if err != nil {
			t.Fatal(err)
		}
		cfg.TLSConfig.Certificates = []tls.Certificate{pair}
	}
	if replication != "" {
		cfg.RuntimeParams["replication"] = replication
	}
	return cfg
}

// TestPromotedWaitsForNoRestart wants nothing of a follower's configuration to be left that only a restart would change:
// that would be taken for a wish, and make the standby take over once more.
func TestPromotedWaitsForNoRestart(t *testing.T) {
	t.Parallel()
	needFerretDB(t)
	p := enginetest.NewPair(t, tested, "")
	p.Protect(t)
	p.KillPrimary(t)
	p.FailOver(t)
	if restart, err := tested.Reload(t.Context(), p.Primary()); restart || err != nil {
		t.Errorf("the node that was promoted needs a restart: %t, %v", restart, err)
	}
}
