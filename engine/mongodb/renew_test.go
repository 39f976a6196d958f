package mongodb_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/engine/pgserver"
)

// earlier makes the data such as an earlier DocumentDB would have left it, with the rights that its roles had, and with
// what its functions let everybody do.
const earlier = `DROP EXTENSION documentdb CASCADE; DROP EXTENSION documentdb_core CASCADE;
CREATE EXTENSION documentdb_core VERSION '0.109-0'; CREATE EXTENSION documentdb VERSION '0.109-0';
GRANT USAGE ON SCHEMA documentdb_core, documentdb_api, documentdb_api_catalog, documentdb_api_internal TO front`

// TestDataOfAnEarlierDocumentDB is brought up to date at the start, walls included, and keeps what is in it.
func TestDataOfAnEarlierDocumentDB(t *testing.T) {
	t.Parallel()
	needFerretDB(t)
	n := enginetest.NewNode(t, tested)
	by := enginetest.Serve(t, tested, n)
	administer := func(do func(*pgx.Conn) error) {
		t.Helper()
		if err := pgserver.WithAdmin(t.Context(), n, "postgres", do); err != nil {
			t.Fatal(err)
		}
	}
	administer(func(conn *pgx.Conn) error {
		_, err := conn.Exec(t.Context(), earlier)
		return err
	})
	asFerretDB, err := pgx.Connect(t.Context(), "postgres:///postgres?user=writer&sslmode=disable&host="+n.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	const keep = `SELECT documentdb_api.insert_one('main', 'kept', '{"_id": 1, "x": 42}')`
	if _, err := asFerretDB.Exec(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	asFerretDB.Close(t.Context())
	by.Stop(t)
	enginetest.Start(t, tested, n)
	administer(func(conn *pgx.Conn) error {
		var current, walled bool
		const asked = `SELECT bool_and(extversion = default_version),
    NOT has_function_privilege('writer', 'documentdb_api.create_user(documentdb_core.bson)', 'EXECUTE')
FROM pg_extension JOIN pg_available_extensions ON name = extname WHERE extname LIKE 'documentdb%'`
		err := conn.QueryRow(t.Context(), asked).Scan(&current, &walled)
		if !current || !walled {
			t.Errorf("it is up to date: %t, users are walled: %t", current, walled)
		}
		return err
	})
	c, err := tested.CreateUser(t.Context(), n, engine.User{Name: "u1", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	client, err := dial(c)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(context.Background())
	kept := client.Database("main").Collection("kept")
	var found struct{ X int }
	if err := kept.FindOne(t.Context(), bson.M{"_id": 1}).Decode(&found); err != nil || found.X != 42 {
		t.Errorf("found %+v, %v", found, err)
	}
	if _, err := kept.InsertOne(t.Context(), bson.M{"x": 43}); err != nil {
		t.Error(err)
	}
	if err := client.Database("admin").RunCommand(t.Context(), bson.D{{Key: "createUser", Value: "evil"},
		{Key: "pwd", Value: "password12"}, {Key: "roles", Value: bson.A{"readAnyDatabase"}}}).Err(); err == nil {
		t.Error("a user makes users")
	}
}
