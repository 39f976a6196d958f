package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/market"
)

// victims are who is killed behind a step.
var victims = []string{"serve", "keeper", "both"}

// TestCrash takes an instance through its life once for each step of the code and each victim, kills
// the victim just behind the step, and expects everything to end as if nothing had happened. A
// session on another instance must live through all of it.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	var steps []string
	for _, names := range [][]string{market.StepNames(), broker.StepNames(), keeper.StepNames()} {
		steps = append(steps, names...)
	}
	slices.Sort(steps)
	for _, victim := range victims {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			w := newWard(t)
			for _, step := range slices.Compact(steps) {
				if !t.Run(step, func(t *testing.T) { w.survive(t, step, victim) }) {
					return // what comes after would only say the same
				}
			}
		})
	}
}

// ward is a platform that is killed again and again, with a session that is not to notice.
type ward struct {
	*platform
	installations string
	space, app    string // where instances come and go
	offering      string // that they are of; empty: postgres
	planName      string // empty: Free
	witness       *pgx.Conn
	backend       int // the witness's process
	round         int
}

func newWard(t *testing.T) *ward {
	w := &ward{installations: movablePostgres(t)}
	w.platform = start(t, "backstay-crash", "--postgres", w.installations)
	l := &life{ward: w, t: t, name: "witness"}
	w.space, w.app = l.settle()
	l.create()
	l.bind()
	w.witness = l.connect()
	if err := w.witness.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&w.backend); err != nil {
		t.Fatal(err)
	}
	if _, err := w.witness.Exec(t.Context(), "CREATE TEMPORARY TABLE mine AS SELECT 42 AS answer"); err != nil {
		t.Fatal(err)
	}
	return w
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
	var backend, answer int
	if err := w.witness.QueryRow(t.Context(), "SELECT pg_backend_pid(), answer FROM mine").Scan(&backend, &answer); err != nil {
		t.Fatalf("the open session did not survive: %v", err)
	}
	if backend != w.backend {
		t.Fatalf("the open session is another one: process %d, was %d", backend, w.backend)
	}
}

// life is what a user does while processes are killed. Each part looks first whether it is done
// already: a request whose answer was lost may have been accepted.
type life struct {
	*ward
	t                 testing.TB
	name              string
	pause             time.Duration // between two looks at what is awaited; 0: shorter than anything here takes
	instance, binding string
	credentials       map[string]any
}

// lead leads the life that comes past step.
func (l *life) lead(step string) {
	switch {
	case strings.HasPrefix(step, "market.delete-"):
		l.ofSpace()
	case step == "broker.create.withdrawn", step == "broker.create.refused":
		l.ofFailure()
	default:
		l.ofInstance()
	}
}

func (l *life) ofInstance() {
	l.create()
	l.bind()
	session := l.connect()
	if _, err := session.Exec(l.t.Context(), "CREATE TABLE visits AS SELECT 1 AS one"); err != nil {
		l.t.Fatal(err)
	}
	l.unbind()
	if err := session.Ping(l.t.Context()); err == nil {
		l.t.Error("a session outlived its binding")
	}
	l.remove("/v3/service_instances/"+l.instance, "/v3/service_instances?guids="+l.instance)
	l.checkNothingLeft()
}

// ofFailure creates an instance for which the engine's programs are missing, and deletes it.
func (l *life) ofFailure() {
	l.plan() // is known while they are there
	version := filepath.Join(l.installations, "15")
	target, err := os.Readlink(version)
	if err == nil {
		err = os.Remove(version)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	op := l.createInstance()
	if err := os.Symlink(target, version); err != nil {
		l.t.Fatal(err)
	}
	if op.Type != "create" || op.State != "failed" || op.Description == "" {
		l.t.Fatalf("without the engine's programs the instance ended as %+v", op)
	}
	l.remove("/v3/service_instances/"+l.instance, "/v3/service_instances?guids="+l.instance)
	l.checkNothingLeft()
}

func (l *life) ofSpace() {
	space, app := l.settle()
	role := l.make("/v3/roles?types=space_developer&space_guids="+space, "/v3/roles",
		object{"type": "space_developer", "relationships": object{"user": object{"data": object{"username": "admin"}}, "space": to(space)}})
	org := l.organization()
	l.remove("/v3/apps/"+app, "/v3/apps?guids="+app)
	l.remove("/v3/roles/"+role, "/v3/roles?guids="+role)
	l.remove("/v3/spaces/"+space, "/v3/spaces?guids="+space)
	l.remove("/v3/organizations/"+org, "/v3/organizations?guids="+org)
}

func (l *life) organization() string {
	return l.make("/v3/organizations?names="+l.name, "/v3/organizations", object{"name": l.name})
}

func (l *life) settle() (space, app string) {
	org := l.organization()
	space = l.make("/v3/spaces?organization_guids="+org, "/v3/spaces",
		object{"name": l.name, "relationships": object{"organization": to(org)}})
	app = l.make("/v3/apps?space_guids="+space, "/v3/apps",
		object{"name": l.name, "relationships": object{"space": to(space)}})
	return space, app
}

type object map[string]any

// to is a relationship to one resource.
func to(guid string) object { return object{"data": object{"guid": guid}} }

// make returns the id of the one resource that find lists, which it makes if need be.
func (l *life) make(find, path string, body object) (guid string) {
	l.t.Helper()
	l.insist(func() error {
		var found struct{ Resources []struct{ GUID string } }
		if _, _, err := l.call("GET", find, nil, &found); err != nil {
			return err
		}
		if len(found.Resources) == 0 {
			if _, _, err := l.call("POST", path, body, nil); err != nil {
				return err
			}
			return errAgain
		}
		guid = found.Resources[0].GUID
		return nil
	})
	return guid
}

var errAgain = errors.New("not yet")

// insist does f again while the control plane is gone or f wants to be.
func (l *life) insist(f func() error) {
	l.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(cmp.Or(l.pause, 5*time.Millisecond)) {
		if err = f(); err == nil {
			return
		}
		if !errors.Is(err, errGone) && !errors.Is(err, errAgain) {
			l.t.Fatalf("%v\n%s", err, l.logs())
		}
	}
	l.t.Fatalf("no end in %s: %v\n%s", patience, err, l.logs())
}

type operation struct{ Type, State, Description string }

// outcome waits for the end of the last operation of the one resource that find lists.
func (l *life) outcome(find string) (op operation) {
	l.t.Helper()
	l.insist(func() error {
		var found struct {
			Resources []struct {
				LastOperation operation `json:"last_operation"`
			}
		}
		if _, _, err := l.call("GET", find, nil, &found); err != nil {
			return err
		}
		if len(found.Resources) != 1 {
			return fmt.Errorf("%s lists %d resources, want 1", find, len(found.Resources))
		}
		if op = found.Resources[0].LastOperation; op.State == "in progress" || op.State == "initial" {
			return errAgain
		}
		return nil
	})
	return op
}

func (l *life) plan() (guid string) {
	return l.make("/v3/service_plans?names="+cmp.Or(l.planName, "Free")+"&service_offering_names="+cmp.Or(l.offering, "postgres"), "", nil)
}

func (l *life) create() {
	l.t.Helper()
	if op := l.createInstance(); op.Type != "create" || op.State != "succeeded" {
		l.t.Fatalf("the instance ended as %+v\n%s", op, l.logs())
	}
}

func (l *life) createInstance() operation {
	l.t.Helper()
	find := "/v3/service_instances?space_guids=" + l.space + "&names=" + l.name
	l.instance = l.make(find, "/v3/service_instances", object{"type": "managed", "name": l.name,
		"relationships": object{"space": to(l.space), "service_plan": to(l.plan())}})
	return l.outcome(find)
}

func (l *life) bind() {
	l.t.Helper()
	find := "/v3/service_credential_bindings?service_instance_guids=" + l.instance
	l.binding = l.make(find, "/v3/service_credential_bindings", object{"type": "app",
		"relationships": object{"app": to(l.app), "service_instance": to(l.instance)}})
	if op := l.outcome(find); op.Type != "create" || op.State != "succeeded" {
		l.t.Fatalf("the binding ended as %+v\n%s", op, l.logs())
	}
	l.insist(func() error {
		var details struct{ Credentials map[string]any }
		_, _, err := l.call("GET", "/v3/service_credential_bindings/"+l.binding+"/details", nil, &details)
		l.credentials = details.Credentials
		return err
	})
}

// connect opens a session with the binding's credentials, that ends with the test.
func (l *life) connect() *pgx.Conn {
	l.t.Helper()
	authority := filepath.Join(l.t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, []byte(l.credentials["ca_certificate"].(string)), 0o600); err != nil {
		l.t.Fatal(err)
	}
	conn, err := pgx.Connect(l.t.Context(), l.credentials["uri"].(string)+"?sslmode=verify-full&sslrootcert="+authority)
	if err != nil {
		l.t.Fatalf("connect with the credentials: %v", err)
	}
	l.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func (l *life) unbind() {
	l.t.Helper()
	l.remove("/v3/service_credential_bindings/"+l.binding, "/v3/service_credential_bindings?guids="+l.binding)
	if conn, err := pgx.Connect(l.t.Context(), l.credentials["uri"].(string)); err == nil {
		conn.Close(l.t.Context())
		l.t.Error("the credentials outlived their binding")
	}
}

// remove deletes a resource and waits until find, which lists it alone, lists nothing.
func (l *life) remove(path, find string) {
	l.t.Helper()
	asked := false
	l.insist(func() error {
		var found struct {
			Resources []struct {
				LastOperation operation `json:"last_operation"`
			}
		}
		if _, _, err := l.call("GET", find, nil, &found); err != nil || len(found.Resources) == 0 {
			return err
		}
		if asked || found.Resources[0].LastOperation.Type == "delete" {
			return errAgain
		}
		status, _, err := l.call("DELETE", path, nil, nil)
		if asked = err == nil; asked || errors.Is(err, errGone) || status == http.StatusNotFound {
			return errAgain
		}
		return err
	})
}

// checkNothingLeft looks for anything of the deleted instance on the disk.
func (l *life) checkNothingLeft() {
	l.t.Helper()
	for _, path := range []string{filepath.Join("instances", l.instance), filepath.Join("keeper", "instances", l.instance+".json")} {
		if _, err := os.Lstat(filepath.Join(l.data, path)); !errors.Is(err, os.ErrNotExist) {
			l.t.Errorf("%s outlived its instance (%v)", path, err)
		}
	}
}
