package mongodb_test

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/enginetest"
)

// TestWallsOfAStandby wants whoever comes to a node that follows to read there, whatever its right is, and to do nothing
// else: no more than on the primary.
func TestWallsOfAStandby(t *testing.T) {
	t.Parallel()
	needFerretDB(t)
	p := enginetest.NewPair(t, tested, "")
	for _, u := range []engine.User{
		{Name: "u1", Password: "correcthorsebatterystaple"},
		{Name: "r1", Password: "correcthorsebatterystaple", ReadOnly: true},
	} {
		client := opened(t, ofStandby(t, p, u))
		for _, command := range []bson.D{
			{{Key: "insert", Value: "kept"}, {Key: "documents", Value: bson.A{bson.M{"x": 2}}}},
			{{Key: "drop", Value: "kept"}},
			{{Key: "createUser", Value: "evil"}, {Key: "pwd", Value: "password12"},
				{Key: "roles", Value: bson.A{"readAnyDatabase"}}},
			{{Key: "dropUser", Value: "u1"}},
			{{Key: "usersInfo", Value: 1}},
			{{Key: "shutdown", Value: 1}},
		} {
			err := client.Database("main").RunCommand(t.Context(), command).Err()
			if err == nil {
				t.Errorf("%s: %s is not refused", u.Name, command[0].Key)
			}
			if err != nil && strings.Contains(err.Error(), p.Standby().RunDir) {
				t.Errorf("%s: %s tells of the node's directories: %v", u.Name, command[0].Key, err)
			}
		}
		var found bson.M
		err := client.Database("main").Collection("kept").FindOne(t.Context(), bson.M{"x": 1}).Decode(&found)
		if err != nil {
			t.Errorf("%s after all that: %v", u.Name, err)
		}
	}
	if f, err := p.Follows(t.Context(), p.Primary(), p.Standby()); err != nil || !f.Streams {
		t.Errorf("after all that: %+v, %v", f, err)
	}
}

// ofStandby makes a user of the primary, where something is kept, and returns its credentials on the standby, which has
// caught up.
func ofStandby(t *testing.T, p *enginetest.Pair, u engine.User) backstay.Credentials {
	t.Helper()
	c, err := tested.CreateUser(t.Context(), p.Primary(), engine.User{Name: "keeps", Password: u.Password})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opened(t, c).Database("main").Collection("kept").InsertOne(t.Context(), bson.M{"x": 1}); err != nil {
		t.Fatal(err)
	}
	if c, err = tested.CreateUser(t.Context(), p.Primary(), u); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for { // until its front serves
		if err = tested.CatchUp(ctx, p.Primary(), p.Standby()); err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("CatchUp: %v", err)
		}
	}
	from, to := strconv.Itoa(p.Primary().Endpoint.Port), strconv.Itoa(p.Standby().Endpoint.Port)
	c["uri"] = strings.ReplaceAll(c["uri"].(string), ":"+from+"/", ":"+to+"/")
	return c
}

// opened is a client that ends with the test.
func opened(t *testing.T, c backstay.Credentials) *mongo.Client {
	t.Helper()
	client, err := dial(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Disconnect(context.Background()) })
	return client
}

// TestPromotedIsClosedUntilItServes wants nobody to reach a node that was promoted by what it was before. Where there is
// no server, drivers wait for one; a connection that ends is an error of what they were asked for.
func TestPromotedIsClosedUntilItServes(t *testing.T) {
	t.Parallel()
	needFerretDB(t)
	p := enginetest.NewPair(t, tested, "")
	c := ofStandby(t, p, engine.User{Name: "u1", Password: "correcthorsebatterystaple"})
	if err := opened(t, c).Ping(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	p.KillPrimary(t)
	n := p.Standby()
	leads := *n.Replication
	leads.Follows, n.Replication = nil, &leads
	for range 2 { // whoever was killed while it promoted does so once more
		if err := tested.Promote(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(n.Endpoint.Port))
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("somebody comes in while FerretDB does not serve those who write")
	}
	p.FailOver(t)
	client := opened(t, c)
	if _, err := client.Database("main").Collection("kept").InsertOne(t.Context(), bson.M{"x": 3}); err != nil {
		t.Errorf("a client that has waited: %v", err)
	}
	if err := tested.Promote(t.Context(), p.Primary()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Database("main").Collection("kept").InsertOne(t.Context(), bson.M{"x": 4}); err != nil {
		t.Errorf("who writes to a node that leads, when that is promoted once more: %v", err)
	}
}
