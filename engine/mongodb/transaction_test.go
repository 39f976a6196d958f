package mongodb_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// TestTransactionsDoNothing: FerretDB has none, and would do each part of one at once and keep it. The first part is
// refused, however long it is, and the connection serves on.
func TestTransactionsDoNothing(t *testing.T) {
	t.Parallel()
	_, writer, _ := serving(t)
	things := writer.Database("shop").Collection("things")
	if _, err := things.InsertOne(t.Context(), bson.M{"_id": "before"}); err != nil {
		t.Fatal(err)
	}
	for name, length := range map[string]int{"a short part": 10, "a long one": 1_000_000} {
		session, err := writer.StartSession()
		if err != nil {
			t.Fatal(err)
		}
		_, err = session.WithTransaction(t.Context(), func(ctx context.Context) (any, error) {
			filter := bson.M{"_id": "before", "text": bson.M{"$ne": strings.Repeat("x", length)}}
			_, err := things.DeleteOne(ctx, filter)
			return nil, err
		})
		session.EndSession(t.Context())
		var said mongo.CommandError
		if !errors.As(err, &said) || said.Code != 115 || !strings.Contains(said.Message, "no transactions") {
			t.Errorf("%s: %v", name, err)
		}
	}
	n, err := things.CountDocuments(t.Context(), bson.M{})
	if err != nil || n != 1 {
		t.Errorf("there are %d documents (%v), want the one that was there before", n, err)
	}
}

// TestUnacknowledgedWrites: FerretDB answers them, and clients would take each later answer for that to what they have
// asked before.
func TestUnacknowledgedWrites(t *testing.T) {
	t.Parallel()
	_, writer, _ := serving(t)
	silent := writer.Database("shop", options.Database().SetWriteConcern(writeconcern.Unacknowledged()))
	things := writer.Database("shop").Collection("things")
	if _, err := things.InsertOne(t.Context(), bson.M{"_id": 1, "v": "original"}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		// One that fails, and one that does not.
		for _, id := range []int{1, 100 + i} {
			if _, err := silent.Collection("things").InsertOne(t.Context(), bson.M{"_id": id}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := things.InsertOne(t.Context(), bson.M{"_id": 1}); !mongo.IsDuplicateKeyError(err) {
			t.Fatalf("what cannot be written is answered: %v", err)
		}
		var found struct{ V string }
		if err := things.FindOne(t.Context(), bson.M{"_id": 1}).Decode(&found); err != nil || found.V != "original" {
			t.Fatalf("it is read as %q (%v)", found.V, err)
		}
	}
	n, err := things.CountDocuments(t.Context(), bson.M{})
	if err != nil || n != 21 {
		t.Errorf("there are %d documents (%v), want 21", n, err)
	}
}

// TestOtherKindsOfCollections: FerretDB would make an ordinary one, and say that it has made what it was asked for.
func TestOtherKindsOfCollections(t *testing.T) {
	t.Parallel()
	_, writer, _ := serving(t)
	db := writer.Database("shop")
	for name, with := range map[string]bson.E{
		"a view": {Key: "viewOn", Value: "things"}, "a capped one": {Key: "capped", Value: true},
		"one by a number": {Key: "capped", Value: 1},
		"a time series":   {Key: "timeseries", Value: bson.M{"timeField": "t"}},
	} {
		err := db.RunCommand(t.Context(), bson.D{{Key: "create", Value: "other"}, with, {Key: "size", Value: 1000}}).Err()
		var said mongo.CommandError
		if !errors.As(err, &said) || said.Code != 115 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := db.RunCommand(t.Context(), bson.D{{Key: "create", Value: "c"}, {Key: "capped", Value: false}}).Err(); err != nil {
		t.Errorf("an ordinary one: %v", err)
	}
	if names, err := db.ListCollectionNames(t.Context(), bson.M{}); err != nil || strings.Join(names, " ") != "c" {
		t.Errorf("there are %v (%v)", names, err)
	}
}
