package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/testkit"
)

// TestChangesAtRandom takes an instance of each engine through changes in an order that a seed decides, now and in
// maintenance windows, while the control plane, the keeper or the engine is killed. After each change all that a user
// can see agrees: plan, parameters, what waits, the bill; and what was written before the first one is there.
func TestChangesAtRandom(t *testing.T) {
	testkit.InSomeRuns(t)
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	for _, of := range breeds {
		t.Run(of.name, func(t *testing.T) {
			t.Parallel()
			c := newChanging(t, of, rand.Uint64())
			for range 14 {
				step := c.step()
				if t.Logf("step: %s", step); !c.agrees() {
					t.Fatalf("after %q", step)
				}
			}
		})
	}
}

// changing is an instance that changes, and what is to be seen of it.
type changing struct {
	*life
	chance  *rand.Rand
	plans   []string // from the smallest to the largest
	plan    int      // that it has
	pending int      // that it is to have; 0: nothing waits
	setting string   // the value of the breed's setting; empty: none was given
	bill    []string // what is used, in the order of the usage events
}

func newChanging(t *testing.T, of breed, seed uint64) *changing {
	t.Helper()
	t.Logf("the seed is %d", seed)
	l := settled(t, of)
	c := &changing{
		life: l, chance: rand.New(rand.NewPCG(seed, 0)), plans: append([]string{of.plan}, of.larger, of.largest),
		bill: []string{"CREATED " + of.plan},
	}
	if err := l.begin().Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var reviver sync.WaitGroup
	reviver.Go(func() { l.revive(ctx) })
	t.Cleanup(func() { cancel(); reviver.Wait() })
	return c
}

// step makes one change, and says which.
func (c *changing) step() string {
	switch c.chance.IntN(7) {
	case 0, 1:
		return c.toPlan(c.chance.IntN(len(c.plans)))
	case 2:
		return c.set()
	case 3:
		return c.reboot()
	case 4, 5:
		if c.pending == 0 {
			return c.queue()
		}
		return c.open()
	}
	return c.withdraw()
}

// toPlan changes the plan at once, or is refused if that has less storage.
func (c *changing) toPlan(plan int) string {
	said := "change to " + c.plans[plan]
	if plan < c.plan {
		status, _, err := c.call("PATCH", c.path(), c.withPlan(plan, nil), nil)
		if status != http.StatusUnprocessableEntity || err == nil {
			c.t.Errorf("%s is answered with %d, %v; want it refused", said, status, err)
		}
		return said + ", which is refused"
	}
	c.insistOn(c.withPlan(plan, nil), func(told) bool { return c.has(c.planOf(c.plans[plan])) })
	c.becomes(plan)
	return said
}

// becomes notes that the instance has another plan.
func (c *changing) becomes(plan int) {
	if plan != c.plan {
		c.plan, c.bill = plan, append(c.bill, "UPDATED "+c.plans[plan])
	}
	if c.pending <= c.plan { // it is the same, or would be refused
		c.withdraw()
	}
}

func (c *changing) set() string {
	c.setting = c.settings[c.chance.IntN(len(c.settings))]
	var given object
	if err := json.Unmarshal([]byte(c.setting), &given); err != nil {
		c.t.Fatal(err)
	}
	c.insistOn(object{"parameters": given}, func(is told) bool { return is.agree(c.setting) })
	return "set " + c.setting
}

func (c *changing) reboot() string {
	c.insistOn(object{"parameters": object{"reboot": true}}, func(told) bool { return false })
	return "reboot"
}

func (c *changing) queue() string {
	if c.plan == len(c.plans)-1 { // there is no larger one
		return c.set()
	}
	c.pending = c.plan + 1 + c.chance.IntN(len(c.plans)-1-c.plan)
	parameters := windowsIn(72 * time.Hour)
	parameters["apply_at_maintenance_window"] = true
	c.insistOn(c.withPlan(c.pending, parameters), func(is told) bool { return is.Pending.Plan == c.plans[c.pending] })
	return "queue " + c.plans[c.pending]
}

// open moves the window to now, and waits until what waited for it is done.
func (c *changing) open() string {
	plan := c.pending
	c.insistOn(object{"parameters": windowsIn(-time.Minute)},
		func(is told) bool { return is.Pending.Plan == "" })
	c.insist(func() error {
		if !c.has(c.planOf(c.plans[plan])) {
			return errAgain
		}
		return nil
	})
	c.pending = 0
	c.becomes(plan)
	return "open the window for " + c.plans[plan]
}

func (c *changing) withdraw() string {
	c.pending = 0
	c.insistOn(object{"parameters": object{"apply_at_maintenance_window": false}},
		func(is told) bool { return is.Pending.Plan == "" })
	return "withdraw what waits"
}

// windowsIn are a maintenance window of an hour that opens that far from now, and a backup window that is never open at
// the same time, as that of the plan may be.
func windowsIn(ahead time.Duration) object {
	opens := time.Now().UTC().Add(ahead)
	window := func(layout string, opens time.Time) string {
		return strings.ToLower(opens.Format(layout) + "-" + opens.Add(time.Hour).Format(layout))
	}
	return object{
		"preferred_maintenance_window": window("Mon:15:04", opens),
		"preferred_backup_window":      window("15:04", opens.Add(6*time.Hour)),
	}
}

func (c *changing) path() string { return "/v3/service_instances/" + c.instance }

func (c *changing) withPlan(plan int, parameters object) object {
	body := object{"relationships": object{"service_plan": to(c.planOf(c.plans[plan]))}}
	if parameters != nil {
		body["parameters"] = parameters
	}
	return body
}

// insistOn asks for an update while something is killed, and asks again if its answer was lost and it is not done.
func (c *changing) insistOn(body object, done func(told) bool) {
	c.t.Helper()
	victim, delay := c.chance.IntN(6), time.Duration(c.chance.IntN(300))*time.Millisecond
	engine, killed := c.enginePID(), make(chan struct{})
	go func() {
		defer close(killed)
		time.Sleep(delay)
		switch victim {
		case 0:
			c.kill()
		case 1:
			killPID(c.keeperPID())
		case 2:
			killPID(engine)
		}
	}()
	asked := false
	c.insist(func() error {
		c.outcome("/v3/service_instances?guids=" + c.instance)
		if asked || done(c.told()) {
			return nil
		}
		_, _, err := c.call("PATCH", c.path(), body, nil)
		if asked = err == nil; !asked && !errors.Is(err, errGone) {
			return err
		}
		return errAgain
	})
	<-killed
}

// told is what a user is told of the parameters in force.
type told struct {
	Pending struct{ Plan string } `json:"pending_change"`
	all     map[string]any
}

// told asks for it until no operation is in the way.
func (c *changing) told() (is told) {
	c.t.Helper()
	c.insist(func() error {
		var raw json.RawMessage
		status, _, err := c.call("GET", c.path()+"/parameters", nil, &raw)
		if status == http.StatusConflict || status == http.StatusBadGateway {
			return errAgain
		}
		if err == nil {
			err = errors.Join(json.Unmarshal(raw, &is), json.Unmarshal(raw, &is.all))
		}
		return err
	})
	return is
}

// agree tells whether the parameters of an object have the values that they have there.
func (is told) agree(object string) bool {
	var wanted map[string]any
	if object == "" || json.Unmarshal([]byte(object), &wanted) != nil {
		return object == ""
	}
	for name, value := range wanted {
		if fmt.Sprint(is.all[name]) != fmt.Sprint(value) {
			return false
		}
	}
	return true
}

// agrees checks that everything that a user can see is as it should be.
func (c *changing) agrees() bool {
	c.t.Helper()
	op, is := c.outcome("/v3/service_instances?guids="+c.instance), c.told()
	if op.State != "succeeded" || !c.has(c.planOf(c.plans[c.plan])) || !is.agree(c.setting) {
		c.t.Errorf("it is %+v, %+v; want plan %s and %s", op, is, c.plans[c.plan], c.setting)
	}
	waits := ""
	if c.pending > 0 {
		waits = c.plans[c.pending]
	}
	if is.Pending.Plan != waits || strings.Contains(strings.ToLower(op.Description), "pending") != (waits != "") {
		c.t.Errorf("%q is told to wait, and users read %q; want %q", is.Pending.Plan, op.Description, waits)
	}
	if used := c.used(); !slices.Equal(used, c.bill) {
		c.t.Errorf("used is %q, want %q", used, c.bill)
	}
	c.insist(func() error { // its engine may have been killed at the end
		s, err := c.life.open(c.t.Context(), c.credentials)
		if err != nil {
			return errAgain
		}
		defer s.Close()
		return s.Kept(c.t.Context())
	})
	return !c.t.Failed()
}

// used is what the usage events say of the instance.
func (c *changing) used() (used []string) {
	var events struct {
		Resources []struct {
			State           string
			ServicePlan     struct{ Name string } `json:"service_plan"`
			ServiceInstance struct{ GUID string } `json:"service_instance"`
		}
	}
	c.insist(func() error {
		_, _, err := c.call("GET", "/v3/service_usage_events?per_page=5000", nil, &events)
		return err
	})
	for _, e := range events.Resources {
		if e.ServiceInstance.GUID == c.instance {
			used = append(used, e.State+" "+e.ServicePlan.Name)
		}
	}
	return used
}
