package mongodb_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
)

// TestDrillerReachesNothing logs in as a drill does, and tries what it is not for.
func TestDrillerReachesNothing(t *testing.T) {
	t.Parallel()
	n, writer, _ := serving(t)
	if _, err := writer.Database("main").Collection("kept").InsertOne(t.Context(), bson.M{"_id": 1}); err != nil {
		t.Fatal(err)
	}
	session := enginetest.BeginDrill(t, tested, n)
	c, err := tested.CreateUser(t.Context(), n, engine.User{Name: "u2", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	client := asDriller(t, c, "secret")
	document := bson.A{bson.M{"_id": 2}}
	for db, commands := range map[string][]bson.D{
		"main": {
			{{Key: "find", Value: "kept"}},
			{{Key: "find", Value: "backstay_drill"}},
			{{Key: "insert", Value: "kept"}, {Key: "documents", Value: document}},
			{{Key: "dropDatabase", Value: 1}},
		},
		"local": {
			{{Key: "find", Value: "kept"}},
			{{Key: "insert", Value: "backstay_drill"}, {Key: "documents", Value: document}},
			{{Key: "drop", Value: "backstay_drill"}},
			{{Key: "aggregate", Value: "backstay_drill"}, {Key: "pipeline", Value: bson.A{}}, {Key: "cursor", Value: bson.M{}}},
		},
		"admin": {{{Key: "listDatabases", Value: 1}}, {{Key: "ping", Value: 1}}},
	} {
		for _, command := range commands {
			if err := client.Database(db).RunCommand(t.Context(), command).Err(); err == nil {
				t.Errorf("in %s, %s is not refused", db, command[0].Key)
			}
		}
	}
	find := bson.D{{Key: "find", Value: "backstay_drill"}}
	if err := client.Database("local").RunCommand(t.Context(), find).Err(); err != nil {
		t.Errorf("what it is for: %v", err)
	}
	if number, err := session.Kept(t.Context()); number != 1 || err != nil {
		t.Errorf("after all that, the drill finds %d, %v", number, err)
	}
}

// asDriller opens a client of the user who writes in drills.
func asDriller(t *testing.T, c backstay.Credentials, password string) *mongo.Client {
	t.Helper()
	c = maps.Clone(c)
	c["uri"] = strings.NewReplacer("u2:", "backstay_drill:", c["password"].(string), password).Replace(c["uri"].(string))
	client, err := dial(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Disconnect(context.Background()) })
	return client
}

// TestDrillLeavesNothing wants nothing to be left of a drill that clients could see, and all that is theirs.
func TestDrillLeavesNothing(t *testing.T) {
	t.Parallel()
	n, writer, _ := serving(t)
	own := writer.Database("local").Collection("own")
	for _, isTheirs := range []bool{false, true, false} {
		if isTheirs {
			if _, err := own.InsertOne(t.Context(), bson.M{"_id": 1}); err != nil {
				t.Fatal(err)
			}
		}
		enginetest.BeginDrill(t, tested, n).Close()
		if err := tested.DismissDriller(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		names, err := writer.ListDatabaseNames(t.Context(), bson.M{})
		if slices.Contains(names, "local") != isTheirs || err != nil {
			t.Errorf("there are the databases %v (%v), with one of theirs in the drills': %t", names, err, isTheirs)
		}
		if !isTheirs {
			continue
		}
		names, err = own.Database().ListCollectionNames(t.Context(), bson.M{})
		if strings.Join(names, " ") != "own" || err != nil {
			t.Errorf("there are the collections %v (%v), want theirs alone", names, err)
		}
		if err := own.Database().Drop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCopyForgetsADrill wants nothing of a drill to be seen in a copy that was taken in the middle of it.
func TestCopyForgetsADrill(t *testing.T) {
	t.Parallel()
	n, _, _ := serving(t)
	enginetest.BeginDrill(t, tested, n)
	copied := enginetest.NewNode(t, tested)
	if err := tested.Clone(t.Context(), n, copied, func(string) {}); err != nil {
		t.Fatal(err)
	}
	enginetest.Serve(t, tested, copied)
	c, err := tested.CreateUser(t.Context(), copied, engine.User{Name: "u2", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	client, err := dial(c)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(context.Background())
	if names, err := client.ListDatabaseNames(t.Context(), bson.M{}); slices.Contains(names, "local") || err != nil {
		t.Errorf("the copy has the databases %v, %v", names, err)
	}
}
