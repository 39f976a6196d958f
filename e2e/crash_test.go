package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/market"
)

// victims are who is killed behind a step.
var victims = []string{"serve", "keeper", "both"}

// TestCrash takes an instance of each engine through its life for the steps of the code and each
// victim, kills the victim just behind the step, and expects everything to end as if nothing had happened.
// Each run draws one of the victims for each engine, and some of the steps.
// A session on another instance must live through all of it.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	t.Parallel()
	var steps []string
	for _, names := range [][]string{market.StepNames(), broker.StepNames(), keeper.StepNames()} {
		steps = append(steps, names...)
	}
	slices.Sort(steps)
	steps = slices.DeleteFunc(slices.Compact(steps), isOfNoUser)
	for _, of := range breeds {
		its := slices.DeleteFunc(slices.Clone(victims), func(victim string) bool { return len(behind(steps, of, victim)) == 0 })
		for _, victim := range testkit.Drawn(t, its) {
			t.Run(victim+"/"+of.name, func(t *testing.T) {
				t.Parallel()
				crash(t, of, victim, testkit.Drawn(t, behind(steps, of, victim)), false)
			})
		}
	}
}

// behind are the steps that a victim is killed behind. For the first breed both die behind every step, and one dies alone
// behind those that it has to do with. The other breeds differ in their engine: there both die behind the steps in which
// it is at work, but for those of a restart: the change of plan that a life brings them takes none.
func behind(steps []string, of breed, victim string) []string {
	first := of.name == breeds[0].name
	return slices.DeleteFunc(slices.Clone(steps), func(step string) bool {
		room, _, _ := strings.Cut(step, ".")
		switch {
		case victim == "both" && first:
			return false
		case victim == "both":
			return isOfRestart(step) || room != "keeper" && !(room == "broker" && isOfBinding(step))
		case !first || isOfSpace(step) || isOfShare(step) || isOfPurge(step):
			return true
		case victim == "serve":
			return room == "keeper"
		}
		return room == "market"
	})
}

// crashBoth takes an instance through its life for steps of the broker and of the keeper in which its engine is at work,
// and kills both processes behind each.
func crashBoth(t *testing.T, of breed) {
	steps := slices.Concat(broker.StepNames(), keeper.StepNames())
	slices.Sort(steps)
	steps = behind(slices.DeleteFunc(slices.Compact(steps), isOfNoUser), of, "both")
	crash(t, of, "both", testkit.Drawn(t, steps), false)
}

// TestCrashReadOnly is the same behind the steps of bindings, with one that may only read.
func TestCrashReadOnly(t *testing.T) {
	testkit.InSomeRuns(t)
	if testing.Short() {
		t.Skip("takes a while")
	}
	t.Parallel()
	steps := slices.Concat(market.StepNames(), broker.StepNames())
	steps = slices.DeleteFunc(steps, func(step string) bool { return !isOfBinding(step) })
	crash(t, postgresBreed, "both", testkit.Drawn(t, steps), true)
}

func isOfBinding(step string) bool {
	return strings.Contains(step, "bind.")
}

func crash(t *testing.T, of breed, victim string, steps []string, readOnly bool) {
	w := newWard(t, of)
	w.readOnly = readOnly
	for _, step := range steps {
		if !t.Run(step, func(t *testing.T) { w.survive(t, step, victim) }) {
			return // what comes after would only say the same
		}
	}
}

// ward is a platform that is killed again and again, with a session that is not to notice.
type ward struct {
	*platform
	breed
	installations string
	space, app    string // where instances come and go
	witness       session
	identity      string // of the witness
	round         int
	readOnly      bool // what bindings of later rounds are
}

func newWard(t *testing.T, of breed) *ward {
	w := &ward{breed: of, installations: movablePostgres(t)}
	w.platform = start(t, "backstay-crash", append(of.flags, "--postgres", w.installations)...)
	w.begin(t)
	return w
}

// begin has the session begin that is not to notice.
func (w *ward) begin(t *testing.T) {
	l := &life{ward: w, t: t, name: "witness"}
	w.space, w.app = l.settle()
	l.create()
	l.bind()
	w.witness = l.begin()
	var err error
	if w.identity, err = w.witness.Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// survive restarts both processes so that, once a life is led, the first to come past step stands
// still there, and kills the victim then.
func (w *ward) survive(t *testing.T, step, victim string) {
	w.round++
	stopped := filepath.Join(testkit.Dir(t), "stopped")
	w.env = []string{"BACKSTAY_STOP_AFTER=" + step, "BACKSTAY_STOPPED=" + stopped}
	w.kill()
	w.killKeeper()
	w.mustServe()
	w.awaitKeeperOf(t, stopped)
	if err := os.WriteFile(stopped+".armed", nil, 0o600); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	var helpers sync.WaitGroup
	helpers.Go(func() { w.revive(ctx) })
	helpers.Go(func() { w.strike(ctx, stopped, victim) })
	l := &life{ward: w, t: t, name: fmt.Sprintf("round-%d", w.round)}
	l.lead(step)
	w.awaitStrike(t, stopped)
	cancel()
	helpers.Wait()
	w.checkWitness(t)
}

// awaitKeeperOf ends the keeper of an earlier round, which the control plane of that round may have been
// starting as it was killed: it would not stand still in this one.
func (w *ward) awaitKeeperOf(t *testing.T, stopped string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		pid := w.keeperPID()
		environment, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if strings.Contains(string(environment), "BACKSTAY_STOPPED="+stopped+"\x00") {
			return
		}
		killPID(pid)
	}
	t.Fatal("the keeper of this round does not come up")
}

// awaitStrike returns when the blow has fallen: behind the last step of an operation it falls when
// everything has been seen to end well already.
func (w *ward) awaitStrike(t *testing.T, stopped string) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		_, armed := os.Stat(stopped + ".armed")
		_, still := os.Stat(stopped)
		if armed != nil && still != nil {
			return
		}
	}
	t.Error("no process came past the step, or stood still there")
}

// strike kills the victim once a process stands still, and lets go of that process if it lives.
func (w *ward) strike(ctx context.Context, stopped, victim string) {
	for ctx.Err() == nil {
		if _, err := os.Stat(stopped); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if ctx.Err() != nil {
		return
	}
	keeper := w.keeperPID()
	if victim != "serve" {
		killPID(keeper)
	}
	if victim != "keeper" {
		w.kill()
	}
	os.Remove(stopped)
}

// revive starts the control plane whenever it has ended, as a service manager does.
func (w *ward) revive(ctx context.Context) {
	for {
		w.mu.Lock()
		ended := w.ended
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ended:
			w.mustServe()
		}
	}
}

func (w *ward) checkWitness(t *testing.T) {
	identity, err := w.witness.Identity(t.Context())
	if err != nil {
		t.Fatalf("the open session did not survive: %v", err)
	}
	if identity != w.identity {
		t.Fatalf("the open session is another one: %s, was %s", identity, w.identity)
	}
}

func isOfSpace(step string) bool {
	for _, of := range []string{"app", "role", "quota", "space", "organization"} {
		if strings.HasPrefix(step, "market.delete-"+of+".") {
			return true
		}
	}
	return false
}

func isOfShare(step string) bool { return strings.HasPrefix(step, "market.unshare.") }

func isOfPurge(step string) bool { return strings.HasPrefix(step, "market.purge.") }

func isOfFailure(step string) bool {
	switch step {
	case "broker.create.given-up", "broker.create.withdrawn", "broker.create.refused":
		return true
	}
	return false
}

// isOfChange tells whether a step belongs to an update of an instance.
func isOfChange(step string) bool {
	switch step {
	case "keeper.checked", "keeper.reloaded", "keeper.changed":
		return true
	}
	return isOfRestart(step) || strings.HasPrefix(step, "market.update.") || strings.HasPrefix(step, "broker.update.")
}

// isOfRestart tells whether only a change that takes a restart of the engine comes past a step.
func isOfRestart(step string) bool {
	switch step {
	case "keeper.drill-noted", "keeper.drill-begun", "keeper.room-to-start", "keeper.settled", "keeper.process-ended":
		return true
	}
	return false
}

// isOfNoUser tells whether no user comes past a step: a delete that fails has nobody left to fail for, nothing is broken
// here, no restart is asked for, and no upgrade or window is due. The crash tests of market, broker and keeper do.
func isOfNoUser(step string) bool {
	switch step {
	case "broker.delete.refused", "keeper.drop-owed", "keeper.users-dropped",
		"broker.update.given-up", "broker.update.returned", "broker.update.restored", "broker.update.refused",
		"keeper.given-up", "keeper.drill-told", "keeper.drill-cleared":
		return true
	}
	return strings.HasPrefix(step, "market.follow.") || strings.HasPrefix(step, "market.orphan.") ||
		strings.HasPrefix(step, "market.") && strings.HasSuffix(step, "-broker.recorded")
}

// lead leads the life that comes past step.
func (l *life) lead(step string) {
	switch {
	case isOfSpace(step):
		l.ofSpace()
	case isOfShare(step):
		l.ofShare()
	case isOfPurge(step):
		l.ofPurge()
	case isOfFailure(step):
		l.ofFailure()
	case isOfChange(step):
		l.ofChange()
	default:
		l.ofInstance()
	}
}

func (l *life) ofInstance() {
	l.create()
	l.bind()
	if l.readOnly {
		l.readAndUnbind()
	} else {
		l.workAndUnbind()
	}
	l.remove("/v3/service_instances/"+l.instance, "/v3/service_instances?guids="+l.instance)
	l.checkNothingLeft()
	l.checkRecorded()
}

func (l *life) workAndUnbind() {
	session := l.begin()
	if _, err := session.Identity(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	l.unbind()
	if _, err := session.Identity(l.t.Context()); err == nil {
		l.t.Error("a session outlived its binding")
	}
}

// checkRecorded makes sure that what became of the instance is recorded, and no more often than it became: its creation
// and deletion, and what else is given.
func (l *life) checkRecorded(more ...string) {
	l.t.Helper()
	var events, usage struct {
		Resources []struct {
			Type, State     string
			ServiceInstance struct{ GUID string } `json:"service_instance"`
		}
	}
	for path, into := range map[string]any{
		"/v3/audit_events?types=audit.service_instance.create,audit.service_instance.update," +
			"audit.service_instance.delete&target_guids=" + l.instance: &events,
		"/v3/service_usage_events?per_page=5000": &usage,
	} {
		l.insist(func() error {
			_, _, err := l.call("GET", path, nil, into)
			return err
		})
	}
	var recorded []string
	for _, e := range events.Resources {
		recorded = append(recorded, e.Type)
	}
	for _, u := range usage.Resources {
		if u.ServiceInstance.GUID == l.instance {
			recorded = append(recorded, u.State)
		}
	}
	want := append([]string{"audit.service_instance.create", "audit.service_instance.delete", "CREATED", "DELETED"}, more...)
	slices.Sort(want)
	if slices.Sort(recorded); !slices.Equal(recorded, want) {
		l.t.Errorf("recorded is %v; want %v", recorded, want)
	}
}

// readAndUnbind is for PostgreSQL alone.
func (l *life) readAndUnbind() {
	conn := l.connect()
	if _, err := conn.Exec(l.t.Context(), "SELECT count(*) FROM pg_class"); err != nil {
		l.t.Fatal(err)
	}
	if _, err := conn.Exec(l.t.Context(), "CREATE TEMPORARY TABLE mine AS SELECT 42 AS answer"); err == nil {
		l.t.Error("a read-only binding makes a table")
	}
	l.unbind()
	if _, err := conn.Exec(l.t.Context(), "SELECT 1"); err == nil {
		l.t.Error("a session outlived its binding")
	}
}

// brokenServer reports its version, and does nothing else.
const brokenServer = "#!/bin/sh\n[ \"$1\" != --version ] || exec \"$0.real\" \"$@\"\nexit 127\n"

// ofFailure creates an instance for which the engine's server is broken, and deletes it.
func (l *life) ofFailure() {
	l.plan() // is known, and its build kept
	kept := filepath.Join(l.platform.data, "builds", "postgres", "15.*", "lib", "postgresql", "15", "bin", "postgres")
	servers, err := filepath.Glob(kept)
	if err != nil || len(servers) != 1 {
		l.t.Fatal(servers, err)
	}
	server := servers[0]
	if err := os.Rename(server, server+".real"); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(server, []byte(brokenServer), 0o755); err != nil {
		l.t.Fatal(err)
	}
	op := l.createInstance()
	if err := os.Rename(server+".real", server); err != nil {
		l.t.Fatal(err)
	}
	if op.Type != "create" || op.State != "failed" || op.Description == "" {
		l.t.Fatalf("with a broken engine the instance ended as %+v", op)
	}
	l.remove("/v3/service_instances/"+l.instance, "/v3/service_instances?guids="+l.instance)
	l.checkNothingLeft()
}

// ofChange changes an instance to a plan that takes a restart of its engine, where any change of plan does, and finds
// everything there afterwards: the data, the binding, and on the bill one change.
func (l *life) ofChange() {
	l.create()
	l.bind()
	if err := l.begin().Keep(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	l.change(l.larger)
	if err := l.begin().Kept(l.t.Context()); err != nil {
		l.t.Errorf("what was written before the change: %v", err)
	}
	l.unbind()
	l.remove("/v3/service_instances/"+l.instance, "/v3/service_instances?guids="+l.instance)
	l.checkNothingLeft()
	l.checkRecorded("audit.service_instance.update", "UPDATED")
}

// ofShare lends an instance to another space, and takes it back while an app there is using it.
func (l *life) ofShare() {
	l.create()
	borrower, app := l.settle()
	l.share(borrower)
	l.bindTo(app)
	session := l.begin()
	l.unshare()
	if _, err := session.Identity(l.t.Context()); err == nil {
		l.t.Error("a session outlived the share that it stood on")
	}
	if again, err := l.open(l.t.Context(), l.credentials); err == nil {
		again.Close()
		l.t.Error("the credentials outlived the share")
	}
	l.gone("/v3/service_credential_bindings?guids=" + l.binding)
	l.remove("/v3/service_instances/"+l.instance, "/v3/service_instances?guids="+l.instance)
	l.checkNothingLeft()
	l.remove("/v3/spaces/"+borrower, "/v3/spaces?guids="+borrower)
}

// ofPurge purges an instance with its binding, and waits until nothing is left.
func (l *life) ofPurge() {
	l.create()
	l.bind()
	session := l.begin()
	l.remove("/v3/service_instances/"+l.instance+"?purge=true", "/v3/service_instances?guids="+l.instance)
	l.gone("/v3/service_credential_bindings?guids=" + l.binding)
	eventually(l.t, "the data of the purged instance are gone", func() bool {
		_, err := os.Lstat(filepath.Join(l.data, "keeper", "instances", l.instance+".json"))
		return errors.Is(err, os.ErrNotExist)
	})
	l.checkNothingLeft()
	if _, err := session.Identity(l.t.Context()); err == nil {
		l.t.Error("a session outlived its instance")
	}
}

func (l *life) ofSpace() {
	space, app := l.settle()
	org := l.organization()
	admin := object{"data": object{"username": "admin"}}
	l.make("/v3/roles?types=organization_user&organization_guids="+org, "/v3/roles",
		object{"type": "organization_user", "relationships": object{"user": admin, "organization": to(org)}})
	role := l.make("/v3/roles?types=space_developer&space_guids="+space, "/v3/roles",
		object{"type": "space_developer", "relationships": object{"user": admin, "space": to(space)}})
	l.remove("/v3/apps/"+app, "/v3/apps?guids="+app)
	l.remove("/v3/roles/"+role, "/v3/roles?guids="+role)
	l.remove("/v3/spaces/"+space, "/v3/spaces?guids="+space)
	l.remove("/v3/organizations/"+org, "/v3/organizations?guids="+org)
	quota := l.make("/v3/organization_quotas?names="+l.name, "/v3/organization_quotas", object{"name": l.name})
	l.remove("/v3/organization_quotas/"+quota, "/v3/organization_quotas?guids="+quota)
}
