package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// life is what a user does while processes are killed. Each part looks first whether it is done
// already: a request whose answer was lost may have been accepted.
type life struct {
	*ward
	t                 testing.TB
	name              string
	pause             time.Duration // between two looks at what is awaited; 0: shorter than anything here takes
	instance, binding string
	borrower          string // the space that the instance is shared with
	credentials       map[string]any
}

func (l *life) organization() string {
	return l.make("/v3/organizations?names="+l.name, "/v3/organizations", object{"name": l.name})
}

func (l *life) settle() (space, app string) {
	l.unlock()
	org := l.organization()
	space = l.make("/v3/spaces?organization_guids="+org, "/v3/spaces",
		object{"name": l.name, "relationships": object{"organization": to(org)}})
	app = l.make("/v3/apps?space_guids="+space, "/v3/apps",
		object{"name": l.name, "relationships": object{"space": to(space)}})
	return space, app
}

// unlock lets organizations have what they like of the breed's plans: as many as they like, even if they are paid, or
// begin hidden.
func (l *life) unlock() {
	quota := l.make("/v3/organization_quotas?names=default", "", nil)
	l.insist(func() error {
		_, _, err := l.call("PATCH", "/v3/organization_quotas/"+quota,
			object{"services": object{"total_service_instances": nil, "paid_services_allowed": true}}, nil)
		return err
	})
	for _, plan := range []string{l.plan(), l.planOf(l.larger), l.planOf(l.largest)} {
		l.insist(func() error {
			_, _, err := l.call("POST", "/v3/service_plans/"+plan+"/visibility", object{"type": "public"}, nil)
			return err
		})
	}
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
	patience := cmp.Or(l.breed.patience, patience)
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

func (l *life) plan() (guid string) { return l.planOf(l.breed.plan) }

func (l *life) planOf(name string) (guid string) {
	return l.make("/v3/service_plans?names="+name+"&service_offering_names="+l.offering, "", nil)
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

// change updates the instance to the plan of that name, which is to succeed.
func (l *life) change(plan string) {
	l.t.Helper()
	guid, path := l.planOf(plan), "/v3/service_instances/"+l.instance
	l.insist(func() error {
		op := l.outcome("/v3/service_instances?guids=" + l.instance)
		switch {
		case l.has(guid):
			return nil
		case op.Type == "update" && op.State != "succeeded":
			return fmt.Errorf("the update ended as %+v", op)
		}
		if _, _, err := l.call("PATCH", path, object{"relationships": object{"service_plan": to(guid)}}, nil); err != nil {
			return err
		}
		return errAgain
	})
	if op := l.outcome("/v3/service_instances?guids=" + l.instance); op.Type != "update" || op.State != "succeeded" {
		l.t.Fatalf("the update ended as %+v\n%s", op, l.logs())
	}
}

// has tells whether the instance has a plan.
func (l *life) has(plan string) bool {
	var found struct {
		Relationships struct {
			Plan struct{ Data struct{ GUID string } } `json:"service_plan"`
		}
	}
	l.insist(func() error {
		_, _, err := l.call("GET", "/v3/service_instances/"+l.instance, nil, &found)
		return err
	})
	return found.Relationships.Plan.Data.GUID == plan
}

func (l *life) bind() {
	l.t.Helper()
	l.bindTo(l.app)
}

func (l *life) bindTo(app string) {
	l.t.Helper()
	find := "/v3/service_credential_bindings?service_instance_guids=" + l.instance
	body := object{"type": "app", "relationships": object{"app": to(app), "service_instance": to(l.instance)}}
	if l.readOnly {
		body["parameters"] = object{"read_only": true}
	}
	l.binding = l.make(find, "/v3/service_credential_bindings", body)
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

// begin opens a session with the binding's credentials, that ends with the test.
func (l *life) begin() session {
	l.t.Helper()
	s, err := l.open(l.t.Context(), l.credentials)
	if err != nil {
		l.t.Fatalf("begin a session with the credentials: %v", err)
	}
	l.t.Cleanup(func() { s.Close() })
	return s
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
	if again, err := l.open(l.t.Context(), l.credentials); err == nil {
		again.Close()
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

// share shares the instance with a space.
func (l *life) share(space string) {
	l.t.Helper()
	l.insist(func() error {
		if shared, err := l.shared(); err != nil || shared {
			return err
		}
		if _, _, err := l.call("POST", l.sharedSpaces(), object{"data": []object{{"guid": space}}}, nil); err != nil {
			return err
		}
		return errAgain
	})
	l.borrower = space
}

// unshare takes the instance back.
func (l *life) unshare() {
	l.t.Helper()
	l.insist(func() error {
		if shared, err := l.shared(); err != nil || !shared {
			return err
		}
		status, _, err := l.call("DELETE", l.sharedSpaces()+"/"+l.borrower, nil, nil)
		if err == nil || status == http.StatusConflict || status == http.StatusUnprocessableEntity {
			return errAgain // it is being done, or was just now
		}
		return err
	})
}

func (l *life) sharedSpaces() string {
	return "/v3/service_instances/" + l.instance + "/relationships/shared_spaces"
}

func (l *life) shared() (bool, error) {
	var found struct{ Data []struct{ GUID string } }
	_, _, err := l.call("GET", l.sharedSpaces(), nil, &found)
	return len(found.Data) > 0, err
}

// gone fails if find lists anything.
func (l *life) gone(find string) {
	l.t.Helper()
	l.insist(func() error {
		var found struct{ Resources []struct{ GUID string } }
		_, _, err := l.call("GET", find, nil, &found)
		if err == nil && len(found.Resources) > 0 {
			l.t.Errorf("%s lists %v", find, found.Resources)
		}
		return err
	})
}
