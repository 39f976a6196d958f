package mongodb_test

import (
	"errors"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/backstay/backstay/engine"
)

// isFull tells whether an error is that of a full node.
func isFull(err error) bool {
	var said mongo.CommandError
	return errors.As(err, &said) && said.Code == 14031
}

// TestFullNode refuses whatever takes room on connections that are there, however it is asked for, and lets all be read
// and dropped.
func TestFullNode(t *testing.T) {
	t.Parallel()
	n, writer, reader := serving(t)
	db := writer.Database("shop")
	things := db.Collection("things")
	var some []any
	for i := range 100 {
		some = append(some, bson.M{"_id": i})
	}
	if _, err := things.InsertMany(t.Context(), some); err != nil {
		t.Fatal(err)
	}
	refuse := func(w engine.Writes) {
		t.Helper()
		if err := tested.RefuseWrites(t.Context(), n, w); err != nil {
			t.Fatalf("RefuseWrites(%s): %v", w, err)
		}
	}
	long := strings.Repeat("x", 200_000)
	growing := []bson.D{
		{{Key: "insert", Value: "things"}, {Key: "documents", Value: bson.A{bson.M{"_id": "new"}}}},
		{{Key: "insert", Value: "things"}, {Key: "documents", Value: bson.A{bson.M{"_id": long}}}},
		{{Key: "update", Value: "things"},
			{Key: "updates", Value: bson.A{bson.M{"q": bson.M{}, "u": bson.M{"$set": bson.M{"x": 1}}}}}},
		{{Key: "findAndModify", Value: "things"}, {Key: "query", Value: bson.M{}},
			{Key: "update", Value: bson.M{"$set": bson.M{"x": 2}}}},
		{{Key: "create", Value: "other"}},
		{{Key: "createIndexes", Value: "things"}, {Key: "indexes", Value: bson.A{bson.M{"key": bson.M{"x": 1}, "name": "x"}}}},
		{{Key: "aggregate", Value: "things"}, {Key: "pipeline", Value: bson.A{bson.M{"$out": "other"}}},
			{Key: "cursor", Value: bson.M{}}},
	}
	deleting := []bson.D{
		{{Key: "delete", Value: "things"}, {Key: "deletes", Value: bson.A{bson.M{"q": bson.M{"_id": 1}, "limit": 1}}}},
		{{Key: "findAndModify", Value: "things"}, {Key: "query", Value: bson.M{"_id": 2}}, {Key: "remove", Value: true}},
	}
	for _, w := range []engine.Writes{engine.FewWrites, engine.NoWrites} {
		refuse(w)
		for _, command := range growing {
			if err := db.RunCommand(t.Context(), command).Err(); !isFull(err) {
				t.Errorf("under %s writes, %s: %v", w, command[0].Key, err)
			}
		}
		for _, command := range deleting {
			if err := db.RunCommand(t.Context(), command).Err(); isFull(err) != (w == engine.NoWrites) {
				t.Errorf("under %s writes, %s: %v", w, command[0].Key, err)
			}
		}
		for _, client := range []*mongo.Client{writer, reader} {
			pipeline := mongo.Pipeline{{{Key: "$match", Value: bson.M{}}}}
			if _, err := client.Database("shop").Collection("things").Aggregate(t.Context(), pipeline); err != nil {
				t.Errorf("under %s writes, a query: %v", w, err)
			}
		}
	}
	if n, err := things.CountDocuments(t.Context(), bson.M{}); err != nil || n != 98 {
		t.Errorf("there are %d documents (%v), want 98", n, err)
	}
	if err := things.Drop(t.Context()); err != nil {
		t.Errorf("drop: %v", err)
	}
	refuse(engine.AnyWrites)
	if _, err := things.InsertMany(t.Context(), some); err != nil {
		t.Errorf("when there is room: %v", err)
	}
}
