package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// mongodbVariable names a directory in which scripts/other-mongodb has put FerretDB with DocumentDB, and clients.
const mongodbVariable = "BACKSTAY_TEST_MONGODB"

// mongodbFlags are the settings of serve for a script that begins with "# needs mongodb", which is skipped where there
// is none. Another one is found beside it where the script installs that.
func mongodbFlags(t *testing.T, script, beside string) []string {
	t.Helper()
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# needs mongodb\n") {
		return nil
	}
	flags := needMongoDB(t)
	flags[1] += "," + beside
	return flags
}

// mongodbBreed is that of instances of MongoDB, which not every machine has.
func mongodbBreed(t testing.TB) breed {
	return breed{name: "mongodb", offering: "mongodb", plan: "tiny", larger: "small", largest: "medium",
		flags: needMongoDB(t), open: openMongoDB}
}

func needMongoDB(t testing.TB) (flags []string) {
	t.Helper()
	dir := os.Getenv(mongodbVariable)
	if dir == "" {
		t.Skipf("%s names no directory with FerretDB and DocumentDB: make test-other does", mongodbVariable)
	}
	return []string{"--mongodb", filepath.Join(dir, "usr")}
}

// TestCrashMongoDB is TestCrash with MongoDB: both processes die behind each step in which the engine is at work.
func TestCrashMongoDB(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	t.Parallel()
	crashBoth(t, mongodbBreed(t))
}

// mongodbSession is a client with one connection, and with the driver's name for the connection of its last command.
type mongodbSession struct {
	*mongo.Client
	last *atomic.Value
}

func openMongoDB(ctx context.Context, credentials map[string]any) (session, error) {
	s := mongodbSession{last: &atomic.Value{}}
	started := func(_ context.Context, e *event.CommandStartedEvent) { s.last.Store(e.ConnectionID) }
	o := options.Client().ApplyURI(credentials["uri"].(string)).SetTLSConfig(trusting(credentials)).SetMaxPoolSize(1).
		SetRetryReads(false).SetServerSelectionTimeout(5 * time.Second).SetMonitor(&event.CommandMonitor{Started: started})
	var err error
	if s.Client, err = mongo.Connect(o); err != nil {
		return nil, err
	}
	if err := s.Ping(ctx, nil); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s mongodbSession) Identity(ctx context.Context) (string, error) {
	err := s.Ping(ctx, nil)
	return s.last.Load().(string), err
}

func (s mongodbSession) kept() *mongo.Collection { return s.Database("main").Collection("kept") }

func (s mongodbSession) Keep(ctx context.Context) error {
	_, err := s.kept().InsertOne(ctx, bson.M{"_id": 1})
	return err
}

func (s mongodbSession) Kept(ctx context.Context) error {
	return s.kept().FindOne(ctx, bson.M{"_id": 1}).Err()
}

var errNoToil = errors.New("no request of this engine takes long by itself")

func (s mongodbSession) Toil(context.Context) error { return errNoToil }

func (s mongodbSession) Toils(context.Context) (bool, error) { return false, errNoToil }

func (s mongodbSession) Close() error { return s.Disconnect(context.Background()) }
