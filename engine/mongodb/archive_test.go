package mongodb_test

import (
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
)

// TestAllDatabasesAreRestored restores what was made before the backup and behind it, the server of which lacks
// DocumentDB's libraries: databases, and indexes of each kind, which do what they did.
func TestAllDatabasesAreRestored(t *testing.T) {
	t.Parallel()
	n, writer, _ := serving(t)
	r := enginetest.NewRepository(t)
	shelve(t, writer.Database("before"))
	b, err := tested.Backup(t.Context(), n, r, false)
	if err != nil {
		t.Fatal(err)
	}
	wantShelved(t, writer.Database("before"))
	shelve(t, writer.Database("behind"))
	moment := time.Now()
	for until := (time.Time{}); until.Before(moment); time.Sleep(100 * time.Millisecond) {
		a, err := tested.Archive(t.Context(), n, r, 0, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		until = a.Until
	}
	copied := enginetest.NewNode(t, tested)
	if err := tested.Restore(t.Context(), copied, r, engine.Point{Backup: b.ID}); err != nil {
		t.Fatal(err)
	}
	enginetest.Serve(t, tested, copied)
	c, err := tested.CreateUser(t.Context(), copied, engine.User{Name: "u1", Password: "batterystaplecorrecthorse"})
	if err != nil {
		t.Fatal(err)
	}
	client, err := dial(c)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(t.Context())
	for _, name := range []string{"before", "behind"} {
		wantShelved(t, client.Database(name))
	}
	if _, err := client.Database("later").Collection("books").InsertOne(t.Context(), bson.M{"title": "new"}); err != nil {
		t.Error(err)
	}
}

// shelve keeps some books under indexes.
func shelve(t *testing.T, db *mongo.Database) {
	t.Helper()
	books := db.Collection("books")
	_, err := books.Indexes().CreateMany(t.Context(), []mongo.IndexModel{
		{Keys: bson.D{{Key: "number", Value: 1}}, Options: options.Index().SetUnique(true).SetName("number")},
		{Keys: bson.D{{Key: "title", Value: "text"}}},
		{Keys: bson.D{{Key: "place", Value: "2dsphere"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []any
	for i := range 1000 {
		title := "dull"
		if i == 500 {
			title = "an uncommon word"
		}
		all = append(all, bson.M{"number": i, "title": title,
			"place": bson.M{"type": "Point", "coordinates": bson.A{float64(i) / 10, 0}}})
	}
	if _, err := books.InsertMany(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

func wantShelved(t *testing.T, db *mongo.Database) {
	t.Helper()
	books := db.Collection("books")
	for what, tc := range map[string]struct {
		filter bson.M
		want   int64
	}{
		"all":        {bson.M{}, 1000},
		"by number":  {bson.M{"number": bson.M{"$gte": 990}}, 10},
		"by a word":  {bson.M{"$text": bson.M{"$search": "uncommon"}}, 1},
		"by a place": {bson.M{"place": bson.M{"$geoWithin": bson.M{"$centerSphere": bson.A{bson.A{50.0, 0}, 0.001}}}}, 1},
	} {
		if got, err := books.CountDocuments(t.Context(), tc.filter); err != nil || got != tc.want {
			t.Errorf("%s %s: found %d (%v), want %d", db.Name(), what, got, err, tc.want)
		}
	}
	if _, err := books.InsertOne(t.Context(), bson.M{"number": 7, "title": "x"}); !mongo.IsDuplicateKeyError(err) {
		t.Errorf("%s: a number that is there is kept again: %v", db.Name(), err)
	}
}
