package mongodb_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/FerretDB/wire"
	"github.com/FerretDB/wire/wirebson"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/backstay/backstay/engine"
)

// rawClient is a connection on which anything can be said. It ends with the test.
func rawClient(t *testing.T, n engine.Node) (net.Conn, *bufio.Reader) {
	t.Helper()
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(n.TLS.Authority))
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(n.Endpoint.Port))
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: trusted, ServerName: n.Endpoint.Host,
		MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn, bufio.NewReader(conn)
}

// say sends a command and returns the answer, or the error where the connection ends.
func say(t *testing.T, conn net.Conn, r *bufio.Reader, pairs ...any) (string, error) {
	t.Helper()
	body := wire.MustOpMsg(append(pairs, "$db", "admin")...)
	encoded, err := body.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	header := wire.MsgHeader{MessageLength: int32(16 + len(encoded)), RequestID: 1, OpCode: wire.OpCodeMsg}
	head, err := header.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(append(head, encoded...)); err != nil {
		return "", err
	}
	_, answer, err := wire.ReadMessage(r)
	if err != nil {
		return "", err
	}
	return answer.String(), nil
}

func login(user string) []any {
	return []any{"saslStart", int32(1), "mechanism", "SCRAM-SHA-256",
		"payload", wirebson.Binary{B: []byte("n,,n=" + user + ",r=abcdefghijklmnopqrstuvwx")}}
}

// TestAConnectionIsOfOneUser begins to log in as a user that may write, so as to go on as one that may not.
func TestAConnectionIsOfOneUser(t *testing.T) {
	t.Parallel()
	n, _, _ := serving(t)
	conn, r := rawClient(t, n)
	if said, err := say(t, conn, r, "hello", int32(1)); err != nil || !strings.Contains(said, "isWritablePrimary") {
		t.Fatalf("hello: %s, %v", said, err)
	}
	if said, err := say(t, conn, r, "insert", "x", "documents", wirebson.MustArray()); err != nil ||
		!strings.Contains(said, "requires authentication") {
		t.Errorf("without a login: %s, %v", said, err)
	}
	if said, err := say(t, conn, r, login("u1")...); err != nil || !strings.Contains(said, "conversationId") {
		t.Fatalf("the first login: %s, %v", said, err)
	}
	if said, err := say(t, conn, r, login("r1")...); err == nil && !strings.Contains(said, "of one user alone") {
		t.Errorf("a second login is answered: %s", said)
	}
	if said, err := say(t, conn, r, "ping", int32(1)); err == nil {
		t.Errorf("after the second login there is an answer: %s", said)
	}
}

func TestTLSOnly(t *testing.T) {
	t.Parallel()
	n, writer, _ := serving(t)
	if err := writer.Ping(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("localhost", strconv.Itoa(n.Endpoint.Port))
	for name, o := range map[string]*options.ClientOptions{
		"plain text": options.Client(),
		"another authority": options.Client().SetTLSConfig(&tls.Config{RootCAs: x509.NewCertPool(),
			MinVersion: tls.VersionTLS12}),
		"an old TLS": options.Client().SetTLSConfig(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10,
			MaxVersion: tls.VersionTLS11}),
	} {
		client, err := mongo.Connect(o.SetHosts([]string{address}).SetServerSelectionTimeout(2 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Ping(t.Context(), nil); err == nil {
			t.Errorf("%s is let in", name)
		}
		client.Disconnect(context.Background())
	}
}

// TestSilentClientsGo: who agrees upon TLS and then says nothing, or only a part of something, is not held for long: the
// connections of an instance are counted.
func TestSilentClientsGo(t *testing.T) {
	t.Parallel()
	n, _, _ := serving(t)
	address := net.JoinHostPort("localhost", strconv.Itoa(n.Endpoint.Port))
	for name, said := range map[string]string{"nothing": "", "a part of a message": "\x40\x00"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, said); err != nil {
				t.Fatal(err)
			}
			conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("it is held for half a minute")
			}
		})
	}
}

// TestStrangersTakeNoPlaces has more come than there are connections, say hello or begin to log in, and go no further:
// who has a password comes in all the same, and stays.
func TestStrangersTakeNoPlaces(t *testing.T) {
	t.Parallel()
	n, writer, _ := serving(t)
	if err := writer.Ping(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for i := range n.Size.Connections + 200 {
		conn, r := rawClient(t, n)
		if _, err := say(t, conn, r, "hello", int32(1)); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if i%2 == 0 {
			if _, err := say(t, conn, r, login("u1")...); err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
		}
	}
	c, err := tested.CreateUser(t.Context(), n, engine.User{Name: "u2", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	for range n.Size.Connections / 2 {
		another, err := connect(t.Context(), c)
		if err != nil {
			t.Fatalf("a user does not come in: %v", err)
		}
		t.Cleanup(func() { another.Close() })
	}
	if err := writer.Ping(t.Context(), nil); err != nil {
		t.Errorf("a user that was in: %v", err)
	}
}

// TestOrdinaryCommands are those that clients count on.
func TestOrdinaryCommands(t *testing.T) {
	t.Parallel()
	_, writer, reader := serving(t)
	things := writer.Database("shop").Collection("things")
	var documents []any
	for i := range 2000 {
		documents = append(documents, bson.M{"_id": i, "x": i % 7, "text": strings.Repeat("x", 100)})
	}
	if _, err := things.InsertMany(t.Context(), documents); err != nil { // longer than what is read whole
		t.Fatal(err)
	}
	plain := mongo.IndexModel{Keys: bson.D{{Key: "x", Value: 1}}}
	if _, err := things.Indexes().CreateOne(t.Context(), plain); err != nil {
		t.Errorf("an index: %v", err)
	}
	unique := writer.Database("shop").Collection("unique")
	if _, err := unique.Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "y", Value: 1}},
		Options: options.Index().SetUnique(true)}); err != nil {
		t.Errorf("a unique index: %v", err)
	}
	if _, err := unique.InsertOne(t.Context(), bson.M{"y": 1}); err != nil {
		t.Error(err)
	}
	if _, err := unique.InsertOne(t.Context(), bson.M{"y": 1}); !mongo.IsDuplicateKeyError(err) {
		t.Errorf("the same again: %v", err)
	}
	for name, client := range map[string]*mongo.Client{"a user": writer, "a reader": reader} {
		found, err := client.Database("shop").Collection("things").Aggregate(t.Context(), mongo.Pipeline{
			{{Key: "$group", Value: bson.M{"_id": "$x", "n": bson.M{"$sum": 1}, "a": bson.M{"$avg": "$x"}}}},
			{{Key: "$sort", Value: bson.M{"_id": 1}}}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var groups []bson.M
		if err := found.All(t.Context(), &groups); err != nil || len(groups) != 7 {
			t.Errorf("%s finds %d groups (%v)", name, len(groups), err)
		}
		all, err := client.Database("shop").Collection("things").Find(t.Context(), bson.M{},
			options.Find().SetBatchSize(100))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []bson.M
		if err := all.All(t.Context(), &got); err != nil || len(got) != len(documents) {
			t.Errorf("%s finds %d documents (%v)", name, len(got), err)
		}
	}
	if err := writer.Database("shop").Drop(t.Context()); err != nil {
		t.Error(err)
	}
}
