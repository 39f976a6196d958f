package state_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
	"github.com/backstay/backstay/state"
	"github.com/backstay/backstay/uaa"
)

// counter counts the statements that are about the market, and how often a broker is asked for its health.
type counter struct {
	*brokertest.Memory
	statements, healths atomic.Int32
}

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	if strings.Contains(d.SQL, "market.") {
		c.statements.Add(1)
	}
	return ctx
}

func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *counter) Unhealthy(context.Context) (map[backstay.InstanceID]string, error) {
	c.healths.Add(1)
	return nil, nil
}

// TestWhatIsAskedForOftenAsksOnce binds an app to more and more instances: its environment, and the check that a
// tunnel makes every second, cost the same, and nobody asks how the instances do.
func TestWhatIsAskedForOftenAsksOnce(t *testing.T) {
	t.Parallel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c, dsn := &counter{Memory: brokertest.NewMemory()}, testkit.Postgres(t)
	m := markettest.NewAt(t, c, dsn)
	o, err := m.CreateOrganization(t.Context(), markettest.Admin, market.NewOrganization{Name: "org"})
	must(err)
	s, err := m.CreateSpace(t.Context(), markettest.Admin, o.ID, "space", backstay.MetadataUpdate{})
	must(err)
	developer := backstay.Actor{UserID: "developer", Username: "developer"}
	account := uaa.User{ID: developer.UserID, Username: "developer", PasswordHash: "x"}
	must(m.Store.(*state.Store).AddUser(t.Context(), account, backstay.Event{}))
	for _, n := range []market.NewRole{
		{Type: "organization_user", OrganizationID: o.ID}, {Type: "space_developer", SpaceID: s.ID},
	} {
		n.UserID = developer.UserID
		_, err := m.CreateRole(t.Context(), markettest.Admin, n)
		must(err)
	}
	app, err := m.CreateApp(t.Context(), developer, s.ID, "app", backstay.MetadataUpdate{})
	must(err)
	plans, err := m.Plans(t.Context(), developer, market.PlanFilter{Names: []string{"Free"}})
	must(err)
	done := func(j backstay.Job, err error) backstay.Job {
		t.Helper()
		must(err)
		j, err = m.AwaitJob(t.Context(), j.ID, time.Minute)
		must(err)
		if j.State != backstay.JobComplete {
			t.Fatalf("%s: %s", j.Operation, j.Sentence)
		}
		return j
	}
	traced := &market.Market{Store: state.OpenTraced(t, dsn, c), Brokers: m.Brokers, Key: m.Key, Log: m.Log}
	var bound backstay.BindingID
	for i := range 4 {
		n := market.NewInstance{Name: fmt.Sprint("db-", i), SpaceID: s.ID, PlanID: plans.Items[0].ID}
		j := done(m.CreateInstance(t.Context(), developer, n))
		b, j, err := m.CreateBinding(t.Context(), developer, market.NewBinding{
			Type: backstay.AppBinding, InstanceID: backstay.InstanceID(j.Resource), AppID: app.ID})
		done(j, err)
		bound = b.ID
		c.statements.Store(0)
		c.healths.Store(0)
		e, err := traced.AppEnvironment(t.Context(), developer, app.ID)
		must(err)
		if len(e.Bound) != i+1 {
			t.Fatalf("bound to %d: %+v", i+1, e)
		}
		if last := e.Bound[i]; last.Credentials["uri"] == nil || last.Offering.Name != "postgres" ||
			last.Plan.Name != "Free" {
			t.Errorf("the last one is %+v", last)
		}
		if n := c.statements.Swap(0); n > 9 {
			t.Errorf("the environment of an app that is bound to %d takes %d statements", i+1, n)
		}
		_, err = traced.Endpoint(t.Context(), developer, bound)
		must(err)
		if n := c.statements.Swap(0); n != 1 {
			t.Errorf("a tunnel's check takes %d statements", n)
		}
		if n := c.healths.Load(); n != 0 {
			t.Errorf("the broker was asked %d times how instances do", n)
		}
	}
	_, err = traced.Endpoint(t.Context(), backstay.Actor{UserID: "stranger"}, bound)
	if backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("a stranger: %v", err)
	}
	_, err = traced.Endpoint(t.Context(), backstay.Actor{UserID: "auditor", Role: backstay.GlobalAuditor}, bound)
	if backstay.KindOf(err) != backstay.Forbidden {
		t.Errorf("whoever may only look: %v", err)
	}
}
