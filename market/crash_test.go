package market_test

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/step"
	"github.com/backstay/backstay/market"
	"github.com/backstay/backstay/market/markettest"
)

// TestCrash leads a life in the market once for each step of its jobs, and lets the job die just behind the
// step: whoever takes it up does it from the beginning, and it ends as if nothing had happened.
func TestCrash(t *testing.T) {
	t.Parallel()
	for name, async := range map[string]bool{"bound at once": false, "bound later": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := brokertest.NewMemory()
			b.Updateable, b.AsyncBindings = true, async
			m := &market.Market{
				Store: markettest.OpenStore(t), Brokers: market.Brokers{markettest.Broker.ID: b}, Key: seal.Key{1},
				Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
			}
			must(t, m.KeepCatalog(t.Context(), markettest.Broker))
			away := brokertest.NewMemory()
			away.AsyncBindings = async
			m.Open = func(backstay.ServiceBroker, backstay.BrokerLogin) (backstay.Broker, error) {
				return elsewhere{away, away, away}, nil
			}
			for _, name := range market.StepNames() {
				t.Run(name, func(t *testing.T) { (&mortal{Market: m, t: t, last: name}).live(b) })
			}
		})
	}
}

// elsewhere is a broker that cannot be asked for more than any broker, though it answers at once.
type elsewhere struct {
	backstay.Broker
	backstay.OperationAwaiter
	backstay.BindingOperationAwaiter
}

// mortal lives in a market whose jobs nobody does but itself, and dies once.
type mortal struct {
	*market.Market
	t    *testing.T
	last string // the step behind which it dies
	died bool
}

// do does a job, in two lives if the last step of the first is among its steps.
func (l *mortal) do(j backstay.Job, err error) string {
	l.t.Helper()
	must(l.t, err)
	steps := l.Steps(j)
	if i := slices.Index(step.Names(steps), l.last); i >= 0 {
		l.died = true
		must(l.t, step.Run(l.t.Context(), steps[:i+1]...))
	}
	for range 2 { // what is done is done
		must(l.t, l.Work(l.t.Context(), j.ID, false))
		done, err := l.Store.Job(l.t.Context(), j.ID)
		must(l.t, err)
		if done.State != backstay.JobComplete {
			l.t.Fatalf("%s is %s: %s", j.Operation, done.State, done.Sentence)
		}
	}
	return j.Resource
}

func (l *mortal) live(b *brokertest.Memory) {
	ctx, admin := l.t.Context(), markettest.Admin
	o, err := l.CreateOrganization(ctx, admin, market.NewOrganization{Name: l.last})
	must(l.t, err)
	owner, err := l.CreateSpace(ctx, admin, o.ID, "owner", noMetadata)
	must(l.t, err)
	guest, err := l.CreateSpace(ctx, admin, o.ID, "guest", noMetadata)
	must(l.t, err)
	app, err := l.CreateApp(ctx, admin, owner.ID, "app", noMetadata)
	must(l.t, err)
	in := l.ofInstance(b, owner, app)
	must(l.t, l.ShareInstance(ctx, admin, in, []backstay.SpaceID{guest.ID}))
	l.do(l.Market.UnshareInstance(ctx, admin, in, guest.ID))
	l.do(l.Market.DeleteInstance(ctx, admin, in))
	l.wantGone(b, in)
	in = l.ofInstance(b, owner, app)
	l.do(l.PurgeInstance(ctx, admin, in))
	l.wantGone(b, in)
	l.ofBroker(owner)
	l.ofPlace(o, guest, app)
	if !l.died {
		l.t.Error("no job came past the step")
	}
}

func (l *mortal) wantGone(b *brokertest.Memory, in backstay.InstanceID) {
	l.t.Helper()
	_, err := b.LastOperation(l.t.Context(), backstay.LastOperationRequest{InstanceID: in})
	if backstay.KindOf(err) != backstay.NotFound {
		l.t.Errorf("the broker still has the instance: %v", err)
	}
}

// ofInstance creates, binds, updates and unbinds an instance.
func (l *mortal) ofInstance(
	b *brokertest.Memory, space backstay.Space, app backstay.App,
) backstay.InstanceID {
	ctx, admin := l.t.Context(), markettest.Admin
	plans, err := l.Plans(ctx, admin, market.PlanFilter{Names: []string{"Free"}})
	must(l.t, err)
	j, err := l.CreateInstance(
		ctx, admin, market.NewInstance{Name: "db", SpaceID: space.ID, PlanID: plans.Items[0].ID},
	)
	in := backstay.InstanceID(l.do(j, err))
	binding, j, err := l.CreateBinding(
		ctx, admin, market.NewBinding{Type: backstay.AppBinding, InstanceID: in, AppID: app.ID},
	)
	l.do(j, err)
	if c, err := l.Credentials(ctx, admin, binding.ID); err != nil || c["password"] == nil {
		l.t.Errorf("credentials with %d entries, %v", len(c), err)
	}
	_, j, err = l.UpdateInstance(
		ctx, admin, in, market.InstanceUpdate{Parameters: []byte(`{"enable_extensions":["a"]}`)},
	)
	l.do(j, err)
	parameters, err := l.InstanceParameters(ctx, admin, in)
	if err != nil || string(parameters) != `{"enable_extensions":["a"]}` {
		l.t.Errorf("parameters %s, %v", parameters, err)
	}
	l.followed(b, in)
	l.do(l.DeleteBinding(ctx, admin, binding.ID))
	return in
}

// followed lets the broker change the instance of its own accord.
func (l *mortal) followed(b *brokertest.Memory, in backstay.InstanceID) {
	l.t.Helper()
	ctx, from := l.t.Context(), markettest.Broker.ID
	b.Change(in, func(r *backstay.ProvisionRequest) { r.PlanID = brokertest.MemoryMedium })
	follow := func(upTo string) {
		after, err := l.Store.SeenChanges(ctx, from)
		must(l.t, err)
		changed, seen, err := b.AwaitChanges(ctx, after)
		must(l.t, err)
		steps := l.FollowSteps(from, changed, seen)
		if i := slices.Index(step.Names(steps), upTo); i >= 0 {
			l.died, steps = true, steps[:i+1]
		}
		must(l.t, step.Run(ctx, steps...))
	}
	before, err := l.Store.SeenChanges(ctx, from)
	must(l.t, err)
	follow(l.last)
	if after, err := l.Store.SeenChanges(ctx, from); err == nil && after == before {
		follow("") // as whoever takes its place
	}
	l.wantChangeOnce(in)
}

// wantChangeOnce checks that the change of the plan has been recorded, with its bill and its event, and once.
func (l *mortal) wantChangeOnce(in backstay.InstanceID) {
	l.t.Helper()
	ctx, admin := l.t.Context(), markettest.Admin
	got, err := l.Instance(ctx, admin, in)
	must(l.t, err)
	events, err := l.Events(ctx, admin, market.EventFilter{
		TargetIDs: []string{string(in)}, Types: []string{"audit.service_instance.update"},
	})
	must(l.t, err)
	usage, err := l.UsageEvents(ctx, admin, market.UsageFilter{})
	must(l.t, err)
	var used []string
	for _, e := range usage.Items {
		if e.InstanceID == in {
			used = append(used, e.PlanName)
		}
	}
	if backstay.ServicePlanID(got.PlanID) != brokertest.MemoryMedium || len(events.Items) != 2 ||
		!events.Items[1].Actor.Broker || !slices.Equal(used, []string{"Free", "M-dedicated-15"}) {
		l.t.Errorf("it has plan %s after %d updates, and was used as %q", got.PlanID, len(events.Items), used)
	}
}

// ofBroker registers a broker, which is changed, leaves something that nobody knows of, and is deleted.
func (l *mortal) ofBroker(space backstay.Space) {
	ctx, admin := l.t.Context(), markettest.Admin
	login := backstay.BrokerLogin{Username: "platform", Password: "secret"}
	n := market.NewBroker{Name: l.last, URL: "https://broker.example.org", Login: login}
	j, err := l.CreateBroker(ctx, admin, n)
	id := backstay.BrokerID(l.do(j, err))
	name := "renamed-" + l.last
	_, j, err = l.UpdateBroker(ctx, admin, id, market.BrokerUpdate{
		Update: market.Update{Name: &name}, URL: &n.URL, Login: &login,
	})
	l.do(j, err)
	l.ofOrphan(id, space)
	j, err = l.DeleteBroker(ctx, admin, id)
	l.do(j, err)
	if _, err := l.ServiceBroker(ctx, admin, id); backstay.KindOf(err) != backstay.NotFound {
		l.t.Errorf("the broker is still known: %v", err)
	}
}

// ofOrphan has a broker keep an instance and a binding that have failed here, until their jobs end them.
func (l *mortal) ofOrphan(of backstay.BrokerID, space backstay.Space) {
	ctx, admin := l.t.Context(), markettest.Admin
	plans, err := l.Plans(ctx, admin, market.PlanFilter{
		Names: []string{"Free"}, BrokerIDs: []backstay.BrokerID{of},
	})
	must(l.t, err)
	plan := plans.Items[0]
	must(l.t, l.SetVisibility(ctx, admin, plan.ID, market.NewVisibility{Type: backstay.PublicPlan}))
	created, err := l.CreateInstance(ctx, admin, market.NewInstance{Name: "db", SpaceID: space.ID, PlanID: plan.ID})
	in := backstay.InstanceID(l.do(created, err))
	b, bound, err := l.CreateBinding(ctx, admin, market.NewBinding{
		Type: backstay.KeyBinding, Name: "key", InstanceID: in,
	})
	l.do(bound, err)
	for _, j := range []backstay.Job{bound, created} {
		next := l.OrphanOf(ctx, j)
		must(l.t, l.Store.AcceptJob(ctx, backstay.Event{}, *next))
		l.do(*next, nil)
	}
	opened, err := l.Open(backstay.ServiceBroker{}, backstay.BrokerLogin{})
	must(l.t, err)
	_, err = opened.LastOperation(ctx, backstay.LastOperationRequest{InstanceID: in})
	if backstay.KindOf(err) != backstay.NotFound {
		l.t.Errorf("the broker still has the instance: %v", err)
	}
	j, err := l.DeleteBinding(ctx, admin, b.ID)
	l.do(j, err)
	j, err = l.DeleteInstance(ctx, admin, in)
	l.do(j, err)
}

// ofPlace ends an app, a space, a role, a quota and an organization.
func (l *mortal) ofPlace(o backstay.Organization, space backstay.Space, app backstay.App) {
	ctx, admin := l.t.Context(), markettest.Admin
	l.do(l.DeleteApp(ctx, admin, app.ID))
	l.do(l.DeleteSpace(ctx, admin, space.ID))
	role, err := l.CreateRole(
		ctx, admin, market.NewRole{Type: "organization_user", UserID: markettest.Robot.UserID, OrganizationID: o.ID},
	)
	must(l.t, err)
	l.do(l.DeleteRole(ctx, admin, role.ID))
	name := l.last
	q, err := l.CreateQuota(ctx, admin, market.NewQuota{QuotaUpdate: market.QuotaUpdate{Name: &name}})
	must(l.t, err)
	l.do(l.DeleteQuota(ctx, admin, false, q.ID))
	l.do(l.DeleteOrganization(ctx, admin, o.ID))
}
