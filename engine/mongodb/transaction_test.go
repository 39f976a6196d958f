package mongodb_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
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
