package mongodb_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/mongodb"
	"github.com/backstay/backstay/engine/mongodb/front"
	"github.com/backstay/backstay/internal/testkit"
)

// asFront has a copy of the test's program be a node's front.
const asFront = "be-the-front"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == asFront {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err := front.Main(ctx, os.Args[2:], os.Stderr)
		stop()
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(runTests(m))
}

// tested is the FerretDB in the directory that the environment names.
var tested mongodb.Engine

// frontVariable tells processes that a test starts where the copy is.
const frontVariable = "BACKSTAY_TEST_MONGODB_FRONT"

// runTests puts a copy of the test's program where the users of nodes can run it.
func runTests(m *testing.M) int {
	root := os.Getenv("BACKSTAY_TEST_MONGODB")
	if root == "" {
		return m.Run()
	}
	program, remove := testkit.CopyOfUs(frontVariable)
	defer remove()
	tested = mongodb.Engine{Roots: []string{filepath.Join(root, "usr")}, Front: []string{program, asFront}}
	return m.Run()
}

func needFerretDB(t testing.TB) {
	t.Helper()
	if len(tested.Roots) == 0 {
		t.Skip("BACKSTAY_TEST_MONGODB names no directory with FerretDB and DocumentDB: scripts/other-mongodb makes one")
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	needFerretDB(t)
	enginetest.Run(t, enginetest.Subject{
		Engine: tested, Connect: connect, ResizeRestarts: true, Large: true,
		BadSettings: []string{`{"storageEngine": "wiredTiger"}`, `[]`},
		Refusing: enginetest.Refusing{Delete: func(ctx context.Context, c enginetest.Session) error {
			return c.(session).keys().Drop(ctx)
		}},
	})
}

type session struct{ *mongo.Client }

// dial opens a client with the uri of the credentials, as an app does, and trusts their authority alone.
func dial(c backstay.Credentials) (*mongo.Client, error) {
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(c["ca_certificate"].(string)))
	verified := &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
	o := options.Client().ApplyURI(c["uri"].(string)).SetTLSConfig(verified).
		SetMaxPoolSize(1).SetServerSelectionTimeout(5 * time.Second).SetRetryReads(false)
	return mongo.Connect(o)
}

func connect(ctx context.Context, c backstay.Credentials) (enginetest.Session, error) {
	client, err := dial(c)
	if err != nil {
		return nil, err
	}
	if err := client.Ping(ctx, nil); err != nil {
		client.Disconnect(context.WithoutCancel(ctx))
		return nil, err
	}
	return session{client}, nil
}

func (s session) keys() *mongo.Collection { return s.Database("main").Collection("keys") }

func (s session) Set(ctx context.Context, key, value string) error {
	_, err := s.keys().UpdateOne(ctx, bson.M{"_id": key}, bson.M{"$set": bson.M{"v": value}},
		options.UpdateOne().SetUpsert(true))
	return err
}

func (s session) Get(ctx context.Context, key string) (string, error) {
	var found struct{ V string }
	err := s.keys().FindOne(ctx, bson.M{"_id": key}).Decode(&found)
	return found.V, err
}

func (s session) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.Disconnect(ctx)
}

// serving is a node with a binding's client, and one of a binding that may only read.
func serving(t *testing.T) (n engine.Node, writer, reader *mongo.Client) {
	t.Helper()
	needFerretDB(t)
	n = enginetest.NewNode(t, tested)
	enginetest.Serve(t, tested, n)
	open := func(u engine.User) *mongo.Client {
		c, err := tested.CreateUser(t.Context(), n, u)
		if err != nil {
			t.Fatal(err)
		}
		client, err := dial(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Disconnect(context.Background()) })
		return client
	}
	return n, open(engine.User{Name: "u1", Password: "correcthorsebatterystaple"}),
		open(engine.User{Name: "r1", Password: "correcthorsebatterystaple", ReadOnly: true})
}

func TestWalls(t *testing.T) {
	t.Parallel()
	n, writer, reader := serving(t)
	for name, client := range map[string]*mongo.Client{"a user": writer, "a reader": reader} {
		for _, command := range []bson.D{
			{{Key: "createUser", Value: "evil"}, {Key: "pwd", Value: "password12"},
				{Key: "roles", Value: bson.A{"readAnyDatabase"}}},
			{{Key: "dropUser", Value: "u1"}}, {{Key: "dropUser", Value: "r1"}},
			{{Key: "dropAllUsersFromDatabase", Value: 1}},
			{{Key: "updateUser", Value: "u1"}, {Key: "pwd", Value: "password34"}},
			{{Key: "updateUser", Value: "r1"}, {Key: "roles", Value: bson.A{"readWriteAnyDatabase"}}},
			{{Key: "usersInfo", Value: 1}}, {{Key: "usersInfo", Value: bson.M{"forAllDBs": true}}},
			{{Key: "shutdown", Value: 1}}, {{Key: "setParameter", Value: 1}, {Key: "logLevel", Value: 1}},
			{{Key: "fsync", Value: 1}, {Key: "lock", Value: true}}, {{Key: "replSetInitiate", Value: 1}},
			{{Key: "getLog", Value: "global"}},
		} {
			err := client.Database("admin").RunCommand(t.Context(), command).Err()
			if err == nil {
				t.Errorf("%s: %s is not refused", name, command[0].Key)
			}
			if err != nil && strings.Contains(err.Error(), n.RunDir) {
				t.Errorf("%s: %s tells of the node's directories: %v", name, command[0].Key, err)
			}
		}
	}
	if err := tested.Probe(t.Context(), n); err != nil {
		t.Errorf("after all that: %v", err)
	}
	if err := writer.Ping(t.Context(), nil); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// TestReadersChangeNothing tries each way to change something.
func TestReadersChangeNothing(t *testing.T) {
	t.Parallel()
	_, writer, reader := serving(t)
	kept := writer.Database("main").Collection("kept")
	if _, err := kept.InsertOne(t.Context(), bson.M{"_id": 1, "x": 1}); err != nil {
		t.Fatal(err)
	}
	db := reader.Database("main")
	for _, command := range []bson.D{
		{{Key: "insert", Value: "kept"}, {Key: "documents", Value: bson.A{bson.M{"_id": 2}}}},
		{{Key: "insert", Value: "other"}, {Key: "documents", Value: bson.A{bson.M{"_id": 2}}}},
		{{Key: "update", Value: "kept"},
			{Key: "updates", Value: bson.A{bson.M{"q": bson.M{}, "u": bson.M{"$set": bson.M{"x": 2}}}}}},
		{{Key: "delete", Value: "kept"}, {Key: "deletes", Value: bson.A{bson.M{"q": bson.M{}, "limit": 0}}}},
		{{Key: "findAndModify", Value: "kept"}, {Key: "query", Value: bson.M{}},
			{Key: "update", Value: bson.M{"$set": bson.M{"x": 2}}}},
		{{Key: "create", Value: "other"}}, {{Key: "drop", Value: "kept"}}, {{Key: "dropDatabase", Value: 1}},
		{{Key: "createIndexes", Value: "kept"},
			{Key: "indexes", Value: bson.A{bson.M{"key": bson.M{"x": 1}, "name": "x"}}}},
		{{Key: "collMod", Value: "kept"}, {Key: "validator", Value: bson.M{"x": 1}}},
		{{Key: "aggregate", Value: "kept"}, {Key: "pipeline", Value: bson.A{bson.M{"$out": "other"}}},
			{Key: "cursor", Value: bson.M{}}},
		{{Key: "aggregate", Value: "kept"}, {Key: "pipeline", Value: bson.A{bson.M{"$merge": bson.M{"into": "other"}}}},
			{Key: "cursor", Value: bson.M{}}},
		{{Key: "compact", Value: "kept"}},
	} {
		var said mongo.CommandError
		if err := db.RunCommand(t.Context(), command).Err(); !errors.As(err, &said) || said.Code != 13 {
			t.Errorf("%s by a reader: %v, want that it is not authorized", command, err)
		}
	}
	if err := reader.Database("admin").RunCommand(t.Context(), bson.D{{Key: "renameCollection", Value: "main.kept"},
		{Key: "to", Value: "main.other"}}).Err(); err == nil {
		t.Error("a reader renames")
	}
	names, err := writer.Database("main").ListCollectionNames(t.Context(), bson.M{})
	if err != nil || strings.Join(names, " ") != "kept" {
		t.Errorf("there are %v (%v), want what was kept alone", names, err)
	}
	var found bson.M
	err = db.Collection("kept").FindOne(t.Context(), bson.M{}).Decode(&found)
	if err != nil || fmt.Sprint(found["x"]) != "1" {
		t.Errorf("a reader finds %v (%v)", found, err)
	}
}
