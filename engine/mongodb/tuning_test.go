package mongodb_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// TestSettings: what users choose holds on connections that are there, and goes again.
func TestSettings(t *testing.T) {
	t.Parallel()
	n, writer, _ := serving(t)
	things := writer.Database("main").Collection("things")
	if _, err := things.InsertOne(t.Context(), bson.M{"name": "Ada"}); err != nil {
		t.Fatal(err)
	}
	indexed := 0
	for _, tc := range []struct {
		settings       string
		anyCase        bool
		indexesAllowed bool
	}{
		{``, false, true},
		{`{"documentdb_core.enableCollation": true, "documentdb.maxIndexesPerCollection": 3}`, true, false},
		{`{"documentdb.maxIndexesPerCollection": 10}`, false, true},
		{``, false, true},
	} {
		tuned := n
		if tc.settings != "" {
			tuned.Settings = json.RawMessage(`{"settings": ` + tc.settings + `}`)
		}
		if restart, err := tested.Reload(t.Context(), tuned); restart || err != nil {
			t.Fatalf("%s: restart %t, %v", tc.settings, restart, err)
		}
		anyCase := options.FindOne().SetCollation(&options.Collation{Locale: "en", Strength: 2})
		err := things.FindOne(t.Context(), bson.M{"name": "ADA"}, anyCase).Err()
		if (err == nil) != tc.anyCase {
			t.Errorf("%s: without regard to case: %v, want it to be found: %t", tc.settings, err, tc.anyCase)
		}
		for range 2 { // with the one that each collection has, more than three at the second time
			indexed++
			_, err = things.Indexes().CreateOne(t.Context(), mongo.IndexModel{
				Keys: bson.D{{Key: fmt.Sprintf("f%d", indexed), Value: 1}}})
		}
		if (err == nil) != tc.indexesAllowed {
			t.Errorf("%s: the index %d: %v, want it to be made: %t", tc.settings, indexed, err, tc.indexesAllowed)
		}
	}
}

// TestLargeBatches writes at once what FerretDB tells drivers that they may.
func TestLargeBatches(t *testing.T) {
	t.Parallel()
	_, writer, _ := serving(t)
	documents := make([]any, 60000)
	for i := range documents {
		documents[i] = bson.M{"_id": i}
	}
	many := writer.Database("main").Collection("many")
	if _, err := many.InsertMany(t.Context(), documents); err != nil {
		t.Fatal(err)
	}
	if count, err := many.CountDocuments(t.Context(), bson.M{}); int(count) != len(documents) || err != nil {
		t.Errorf("found %d, %v", count, err)
	}
}
