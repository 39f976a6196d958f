package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market"
	tenants "github.com/backstay/backstay/tenant"
)

// pair is two Backstays: the one's broker sells in the other's marketplace, over HTTP.
type pair struct {
	*ward              // the marketplace
	provider *platform // the broker
}

// newPair registers the broker of one Backstay with the marketplace of another, which has no such offering of its own.
func newPair(t *testing.T, of breed) *pair {
	t.Helper()
	p := &pair{provider: prepare(t, "backstay-crash")}
	p.provider.args[0] = "broker"
	p.provider.mustServe()
	out, err := exec.Command(p.provider.binary, "osb-client", "create", "elsewhere", "--data", p.provider.data).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, p.provider.logs())
	}
	p.ward = &ward{breed: of, platform: start(t, "backstay-crash",
		"--catalog", filepath.Join(testdata, "two-offerings.yaml"))}
	l := &life{ward: p.ward, t: t, name: "witness"}
	l.make("/v3/service_brokers?names=theirs", "/v3/service_brokers", object{
		"name": "theirs", "url": p.provider.url, "authentication": object{"type": "basic", "credentials": object{
			"username": "elsewhere", "password": strings.TrimSpace(string(out)),
		}},
	})
	l.insist(func() error { // its catalog is read by a job
		var found struct{ Resources []struct{ GUID string } }
		_, _, err := l.call("GET", "/v3/service_plans?service_offering_names="+of.offering, nil, &found)
		if err == nil && len(found.Resources) == 0 {
			err = errAgain
		}
		return err
	})
	p.space, p.app = l.settle()
	l.create()
	l.bind()
	p.witness = l.begin()
	if p.identity, err = p.witness.Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCrashOfTheMarketplace kills a marketplace behind each step of an operation on what a broker elsewhere sells, and
// expects everything to end as if nothing had happened.
func TestCrashOfTheMarketplace(t *testing.T) {
	testkit.InSomeRuns(t)
	if testing.Short() {
		t.Skip("takes minutes")
	}
	t.Parallel()
	p := newPair(t, redisBreed)
	steps := slices.DeleteFunc(market.StepNames(), func(step string) bool {
		kind, _, _ := strings.Cut(strings.TrimPrefix(step, "market."), ".")
		return !slices.Contains([]string{"create", "update", "delete", "bind", "unbind"}, kind)
	})
	for _, step := range testkit.Drawn(t, steps) {
		sound := t.Run(step, func(t *testing.T) {
			p.survive(t, step, "serve")
			p.wantNoOrphan(t)
		})
		if !sound { // what is left there would fail all that follow
			return
		}
	}
}

// TestCrashOfTheBroker kills a broker behind each step of an operation that a marketplace elsewhere has asked for. What
// cannot be done meanwhile fails, and is asked for again by the user: no orphan is left.
func TestCrashOfTheBroker(t *testing.T) {
	testkit.InSomeRuns(t)
	if testing.Short() {
		t.Skip("takes minutes")
	}
	t.Parallel()
	p := newPair(t, redisBreed)
	steps := slices.DeleteFunc(append(tenants.StepNames(), broker.StepNames()...), func(step string) bool {
		return isOfNoUser(step) || isOfFailure(step)
	})
	for _, step := range testkit.Drawn(t, steps) {
		sound := t.Run(step, func(t *testing.T) {
			p.surviveWithout(t, step)
			p.wantNoOrphan(t)
			p.checkWitness(t)
		})
		if !sound { // what is left there would fail all that follow
			return
		}
	}
}

// surviveWithout leads a life in which the broker dies behind a step.
func (p *pair) surviveWithout(t *testing.T, step string) {
	p.round++
	stopped := filepath.Join(testkit.Dir(t), "stopped")
	p.provider.env = []string{"BACKSTAY_STOP_AFTER=" + step, "BACKSTAY_STOPPED=" + stopped}
	p.provider.kill()
	p.provider.mustServe()
	if err := os.WriteFile(stopped+".armed", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	victim := &ward{platform: p.provider}
	ctx, cancel := context.WithCancel(t.Context())
	var helpers sync.WaitGroup
	helpers.Go(func() { victim.revive(ctx) })
	helpers.Go(func() { victim.strike(ctx, stopped, "serve") })
	l := &life{ward: p.ward, t: t, name: fmt.Sprintf("round-%d", p.round)}
	l.insistOnAll()
	victim.awaitStrike(t, stopped)
	cancel()
	helpers.Wait()
}

// insistOnAll leads an instance through its life, and asks again for what has failed.
func (l *life) insistOnAll() {
	l.t.Helper()
	find := "/v3/service_instances?space_guids=" + l.space + "&names=" + l.name
	for l.createInstance().State != "succeeded" {
		l.end("/v3/service_instances/"+l.instance, find)
	}
	l.insistOnBinding()
	if err := l.begin().Keep(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	l.insistOnPlan(l.planOf(l.larger))
	if err := l.begin().Kept(l.t.Context()); err != nil {
		l.t.Errorf("what was written before the change: %v", err)
	}
	l.end("/v3/service_credential_bindings/"+l.binding, "/v3/service_credential_bindings?guids="+l.binding)
	l.end("/v3/service_instances/"+l.instance, find)
}

func (l *life) insistOnBinding() {
	l.t.Helper()
	find := "/v3/service_credential_bindings?service_instance_guids=" + l.instance
	for {
		l.binding = l.make(find, "/v3/service_credential_bindings", object{
			"type": "app", "relationships": object{"app": to(l.app), "service_instance": to(l.instance)},
		})
		if l.outcome(find).State == "succeeded" {
			break
		}
		l.end("/v3/service_credential_bindings/"+l.binding, find)
	}
	l.insist(func() error {
		var details struct{ Credentials map[string]any }
		_, _, err := l.call("GET", "/v3/service_credential_bindings/"+l.binding+"/details", nil, &details)
		l.credentials = details.Credentials
		return err
	})
}

func (l *life) insistOnPlan(guid string) {
	l.t.Helper()
	l.insist(func() error {
		l.outcome("/v3/service_instances?guids=" + l.instance)
		if l.has(guid) {
			return nil
		}
		body := object{"relationships": object{"service_plan": to(guid)}}
		status, _, err := l.call("PATCH", "/v3/service_instances/"+l.instance, body, nil)
		if err == nil || status == http.StatusBadGateway || status == http.StatusServiceUnavailable {
			return errAgain
		}
		return err
	})
}

// end deletes a resource, again if that has failed, until find lists nothing.
func (l *life) end(path, find string) {
	l.t.Helper()
	l.insist(func() error {
		var found struct {
			Resources []struct {
				LastOperation operation `json:"last_operation"`
			}
		}
		if _, _, err := l.call("GET", find, nil, &found); err != nil || len(found.Resources) == 0 {
			return err
		}
		if op := found.Resources[0].LastOperation; op.State == "in progress" || op.State == "initial" {
			return errAgain
		}
		status, _, err := l.call("DELETE", path, nil, nil)
		if err == nil || errors.Is(err, errGone) || status == http.StatusNotFound || status == http.StatusBadGateway ||
			status == http.StatusServiceUnavailable || status == http.StatusUnprocessableEntity {
			return errAgain
		}
		return err
	})
}

// wantNoOrphan looks for what the broker has and nobody asks for any more: besides its state database there is the
// instance of the witness. A marketplace ends an orphan after it has told its user of the failure.
func (p *pair) wantNoOrphan(t *testing.T) {
	t.Helper()
	var has []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		has = nil
		entries, err := os.ReadDir(filepath.Join(p.provider.data, "instances"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			has = append(has, e.Name())
		}
		if len(has) == 2 {
			return
		}
	}
	t.Errorf("the broker has %v", has)
}
