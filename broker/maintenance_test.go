package broker_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/broker/terms"
)

// kept is an instance on a simulated machine, for a test to follow.
type kept struct {
	*house
	t       *testing.T
	machine *simulated
	clock   *clock
	ledger  noting
	r       backstay.ProvisionRequest
}

// onTuesdays has the window tue:04:00-tue:04:30.
func onTuesdays(t *testing.T) *kept {
	t.Helper()
	k := &kept{t: t}
	k.house, k.machine, k.clock = onSimulated(t)
	k.ledger = noting{k.Store, new(sync.Mutex), new([]broker.Operation)}
	k.Store = k.ledger
	k.r = k.made(t)
	k.update(`{"preferred_maintenance_window": "Tue:04:00-Tue:04:30", "preferred_backup_window": "02:00-02:30"}`, "")
	return k
}

// opening is when the window opens next.
func (k *kept) opening() time.Time {
	return time.Date(2026, 12, 1, 4, 0, 0, 0, time.UTC)
}

func (k *kept) at(now time.Time) { k.clock.at.Store(now.UnixNano()) }

// update asks for a change, works on it if there is work, and returns what became of it.
func (k *kept) update(parameters, size string) backstay.Operation {
	k.t.Helper()
	r := backstay.UpdateRequest{InstanceID: k.r.InstanceID, ServiceID: k.r.ServiceID}
	if parameters != "" {
		r.Parameters = json.RawMessage(parameters)
	}
	if size != "" {
		r.PlanID = k.plan(k.t, size)
	}
	must(k.t, k.AdmitUpdate(k.t.Context(), r))
	updated, err := k.Update(k.t.Context(), r)
	must(k.t, err)
	if updated.Async {
		must(k.t, k.Work(k.t.Context(), k.r.InstanceID, updated.Operation, false))
	}
	return k.last(updated.Operation)
}

func (k *kept) last(key backstay.OperationKey) backstay.Operation {
	k.t.Helper()
	op, err := k.LastOperation(k.t.Context(), backstay.LastOperationRequest{InstanceID: k.r.InstanceID, Operation: key})
	must(k.t, err)
	return op
}

// maintain does what is due now, and returns how much that was.
func (k *kept) maintain() int {
	k.t.Helper()
	must(k.t, k.Maintain(k.t.Context()))
	begun := k.ledger.take()
	for _, op := range begun {
		must(k.t, k.Work(k.t.Context(), op.InstanceID, op.ID, false))
	}
	return len(begun)
}

// TestMaintenanceIsDoneInItsWindow: what is begun in a window is worked on while that is open, by those who run the jobs.
func TestMaintenanceIsDoneInItsWindow(t *testing.T) {
	t.Parallel()
	k := onTuesdays(t)
	k.machine.alter(func(s *simulated) { s.build = "15.2" })
	opens := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 2) // the queue of jobs has a clock of its own
	for opens.Weekday() != time.Tuesday {
		opens = opens.AddDate(0, 0, 1)
	}
	k.at(opens.Add(4*time.Hour + time.Minute))
	must(t, k.Maintain(t.Context()))
	begun := k.ledger.take()
	if len(begun) != 1 {
		t.Fatalf("begun is %+v, want an upgrade", begun)
	}
	k.runJobs(t)
	if op := k.outcome(t, begun[0].InstanceID, begun[0].ID); op.State != backstay.Succeeded {
		t.Errorf("an upgrade ended as %+v", op)
	}
}

// TestUpgradesKeepTheFoundation: of what is installed side by side, only what serves an instance's data is offered to it.
// A platform takes what differs from the plan's version for an upgrade.
func TestUpgradesKeepTheFoundation(t *testing.T) {
	t.Parallel()
	k := onTuesdays(t)
	k.at(k.opening())
	offered := func() bool {
		fetched, _ := k.fetch()
		offerings, err := k.Catalog(t.Context())
		must(t, err)
		return fetched.MaintenanceInfo.Version != offerings[0].Plans[0].MaintenanceInfo.Version
	}
	k.machine.alter(func(s *simulated) { s.other = "15.9 on PostgreSQL 18.6" })
	if n := k.maintain(); n != 0 || offered() {
		t.Errorf("%d operations are begun for a build of another foundation, which is offered: %t", n, offered())
	}
	k.machine.alter(func(s *simulated) { s.build = "15.2" })
	if !offered() {
		t.Error("an update of its own foundation is not offered")
	}
	if n := k.maintain(); n != 1 || offered() {
		t.Errorf("%d operations are begun for an update, which is still offered: %t", n, offered())
	}
	if spec := k.machine.specs[k.r.InstanceID]; spec.Build != "15.2" {
		t.Errorf("the instance has %q", spec.Build)
	}
}

// told is what users see with "cf service --params".
type told struct {
	Maintenance string   `json:"preferred_maintenance_window"`
	Backup      string   `json:"preferred_backup_window"`
	Version     string   `json:"version"`
	Extensions  []string `json:"enable_extensions"`
	Pending     struct {
		Plan       string          `json:"plan"`
		Parameters json.RawMessage `json:"parameters"`
		Window     string          `json:"window"`
		Begins     time.Time       `json:"begins"`
		Reason     string          `json:"postponed_because"`
	} `json:"pending_change"`
}

func (k *kept) fetch() (backstay.FetchedInstance, told) {
	k.t.Helper()
	fetched, err := k.FetchInstance(k.t.Context(), backstay.FetchInstanceRequest{InstanceID: k.r.InstanceID})
	must(k.t, err)
	var says told
	must(k.t, json.Unmarshal(fetched.Parameters, &says))
	return fetched, says
}

func (k *kept) wantPlan(size string) {
	k.t.Helper()
	if fetched, _ := k.fetch(); fetched.PlanID != k.plan(k.t, size) {
		k.t.Errorf("the instance has plan %s, want %s", fetched.PlanID, size)
	}
}

func (k *kept) wantSays(op backstay.Operation, state backstay.OperationState, words ...string) {
	k.t.Helper()
	for _, w := range words {
		if op.State != state || op.Type != backstay.Update || !strings.Contains(op.Description, w) {
			k.t.Errorf("users are told %+v, want it %s with %q", op, state, w)
		}
	}
}

const toM = `Pending until the maintenance window tue:04:00-tue:04:30: plan M-dedicated-15, from Tue 2026-12-01 04:00 UTC.`

// TestWindowsMoveAtOnce: the backend hears nothing of it, and need not be there.
func TestWindowsMoveAtOnce(t *testing.T) {
	t.Parallel()
	k := onTuesdays(t)
	applied := k.machine.instances[k.r.InstanceID].Wanted
	op := k.update(`{"preferred_maintenance_window": "SUN:23:45-mon:00:15"}`, "")
	k.wantSays(op, backstay.Succeeded, "The maintenance window is sun:23:45-mon:00:15, and the backup window is 02:00-02:30.")
	if _, says := k.fetch(); says.Maintenance != "sun:23:45-mon:00:15" || says.Backup != "02:00-02:30" {
		t.Errorf("users are told %+v", says)
	}
	if now := k.machine.instances[k.r.InstanceID].Wanted; now != applied {
		t.Errorf("the backend was told of generation %d for it", now)
	}
	k.machine.alter(func(s *simulated) { s.away = true })
	k.update(`{"preferred_maintenance_window": "wed:04:00-wed:04:30"}`, "")
	if _, says := k.fetch(); says.Maintenance != "wed:04:00-wed:04:30" {
		t.Errorf("with the machine away, users are told %+v", says)
	}
	k.update(`{"apply_at_maintenance_window": false}`, "")
	for _, parameters := range []string{`{"reboot": true}`, `{"enable_extensions": ["citext"]}`} {
		_, err := k.Update(t.Context(), backstay.UpdateRequest{
			InstanceID: k.r.InstanceID, Parameters: json.RawMessage(parameters),
		})
		wantKind(t, err, backstay.Unavailable)
	}
	k.machine.alter(func(s *simulated) { s.away = false })
	err := k.AdmitUpdate(t.Context(), backstay.UpdateRequest{
		InstanceID: k.r.InstanceID, Parameters: json.RawMessage(`{"preferred_backup_window": "04:10-04:40"}`),
	})
	wantKind(t, err, backstay.Invalid)
}

// TestQueuedChange follows a wish from the request to the window, past another change that users do not wait with.
func TestQueuedChange(t *testing.T) {
	t.Parallel()
	k := onTuesdays(t)
	op := k.update(`{"apply_at_maintenance_window": true}`, "M")
	k.wantSays(op, backstay.Succeeded, toM)
	k.wantPlan("S")
	_, says := k.fetch()
	if p := says.Pending; p.Plan != "M-dedicated-15" || p.Window != "tue:04:00-tue:04:30" || !p.Begins.Equal(k.opening()) ||
		p.Parameters != nil {
		t.Errorf("users are told that %+v is pending", p)
	}
	k.wantSays(k.update(`{"enable_extensions": ["citext"]}`, ""), backstay.Succeeded, "It serves.", toM)
	k.at(k.opening().Add(-time.Second))
	if n := k.maintain(); n != 0 {
		t.Errorf("%d operations are begun before the window", n)
	}
	k.at(k.opening())
	if n := k.maintain(); n != 1 {
		t.Fatalf("%d operations are begun as the window opens, want 1", n)
	}
	k.wantPlan("M")
	_, says = k.fetch()
	if says.Pending.Window != "" || len(says.Extensions) != 1 {
		t.Errorf("after the window users are told %+v", says)
	}
	if op := k.last(""); op.Description != "It serves." {
		t.Errorf("after the window users are told %+v", op)
	}
	if n := k.maintain(); n != 0 {
		t.Errorf("%d operations are begun for what is done", n)
	}
	changed, _, err := k.AwaitChanges(t.Context(), 0)
	if err != nil || len(changed) != 1 || changed[0] != k.r.InstanceID {
		t.Errorf("changes: %v, %v", changed, err)
	}
}

func TestQueuedChangeIsReplacedAndWithdrawn(t *testing.T) {
	t.Parallel()
	k := onTuesdays(t)
	k.update(`{"apply_at_maintenance_window": true}`, "M")
	op := k.update(`{"apply_at_maintenance_window": true, "reboot": true}`, "")
	k.wantSays(op, backstay.Succeeded, ": reboot, from Tue 2026-12-01 04:00 UTC.")
	op = k.update(`{"apply_at_maintenance_window": false}`, "")
	k.wantSays(op, backstay.Succeeded, "Nothing waits for the maintenance window any more.")
	k.update(`{"apply_at_maintenance_window": true}`, "M")
	k.update(`{"apply_at_maintenance_window": true, "update_minor_version_to_latest": true}`, "") // is done
	k.at(k.opening())
	if n := k.maintain(); n != 0 {
		t.Errorf("%d operations are begun for what was withdrawn", n)
	}
	k.wantPlan("S")
	// A window that is open now is as good as one that opens.
	op = k.update(`{"apply_at_maintenance_window": true, "preferred_maintenance_window": "tue:03:45-tue:04:15"}`, "M")
	k.wantSays(op, backstay.Succeeded, "The maintenance window is tue:03:45-tue:04:15", "from Tue 2026-12-01 03:45 UTC")
	if n := k.maintain(); n != 1 {
		t.Errorf("%d operations are begun in the window that was moved to now", n)
	}
	k.wantPlan("M")
}

// TestQueuedChangeThatCannotBe ends as failed, with its reason for its users, and what was accepted serves on.
func TestQueuedChangeThatCannotBe(t *testing.T) {
	t.Parallel()
	k := onTuesdays(t)
	k.update(`{"apply_at_maintenance_window": true}`, "L") // the machine will not have it
	k.at(k.opening())
	k.maintain()
	k.wantSays(k.last(""), backstay.Failed, "It is too much.")
	k.wantPlan("S")
	if spec := k.machine.specs[k.r.InstanceID]; spec.Size.Connections != 20 {
		t.Errorf("it serves %d connections", spec.Size.Connections)
	}

	k.update(`{"apply_at_maintenance_window": true}`, "M")
	k.Offered.Offerings[0].Fixed = true // nor will its terms
	if n := k.maintain(); n != 0 {
		t.Errorf("%d operations are begun for what cannot be agreed on", n)
	}
	k.wantSays(k.last(""), backstay.Failed, "The service does not support changing plans.")
	if _, says := k.fetch(); says.Pending.Window != "" {
		t.Errorf("it is pending still: %+v", says.Pending)
	}
}

// TestQueuedChangeMeetsAFullDisk: what waits for something has time until the window closes, and is tried in the next
// one. One window more is missed, since the machine is off.
func TestQueuedChangeMeetsAFullDisk(t *testing.T) {
	t.Parallel()
	k := onTuesdays(t)
	k.update(`{"apply_at_maintenance_window": true}`, "M")
	k.machine.alter(func(s *simulated) { s.full = true })
	k.at(k.opening().Add(30*time.Minute - 50*time.Millisecond))
	if n := k.maintain(); n != 1 {
		t.Fatalf("%d operations are begun, want 1", n)
	}
	k.at(k.opening().Add(31 * time.Minute))
	k.wantPlan("S")
	_, says := k.fetch()
	if p := says.Pending; !p.Begins.Equal(k.opening().Add(7*24*time.Hour)) || !strings.Contains(p.Reason, "The disk is full.") {
		t.Errorf("users are told that %+v is pending", p)
	}
	k.wantSays(k.last(""), backstay.Succeeded, "Tue 2026-12-08", "could not be done: ", "The disk is full.")
	k.machine.alter(func(s *simulated) { s.full = false })
	k.at(k.opening().Add(10 * 24 * time.Hour))
	if n := k.maintain(); n != 0 {
		t.Errorf("%d operations are begun outside of the window", n)
	}
	k.at(k.opening().Add(14*24*time.Hour + time.Minute))
	if n := k.maintain(); n != 1 {
		t.Errorf("%d operations are begun two weeks later, want 1", n)
	}
	k.wantPlan("M")
}

// TestMinorUpgrade has a newer build found: it is told of, and the window, or a user before it, brings it.
func TestMinorUpgrade(t *testing.T) {
	t.Parallel()
	for name, upgrade := range map[string]func(k *kept){
		"window": func(k *kept) {
			k.at(k.opening())
			k.maintain()
		},
		"parameter": func(k *kept) { k.update(`{"update_minor_version_to_latest": true}`, "") },
		"cf upgrade-service": func(k *kept) {
			updated, err := k.Update(k.t.Context(), backstay.UpdateRequest{
				InstanceID: k.r.InstanceID, MaintenanceInfo: &backstay.MaintenanceInfo{Version: "15.2.0"},
			})
			must(k.t, err)
			must(k.t, k.Work(k.t.Context(), k.r.InstanceID, updated.Operation, false))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := onTuesdays(t)
			k.machine.alter(func(s *simulated) { s.build = "15.2" })
			k.update(`{"enable_extensions": ["citext"]}`, "") // a plain change keeps the build
			fetched, says := k.fetch()
			if fetched.MaintenanceInfo.Version != "15.1.0" || says.Version != "15.1" {
				t.Errorf("before the upgrade it is %+v, version %s", fetched.MaintenanceInfo, says.Version)
			}
			offerings, err := k.Catalog(t.Context())
			must(t, err)
			if info := offerings[0].Plans[0].MaintenanceInfo; info.Version != "15.2.0" || info.Description != "PostgreSQL 15.2" {
				t.Errorf("the catalog tells of %+v", info)
			}
			upgrade(k)
			fetched, _ = k.fetch()
			if fetched.MaintenanceInfo.Version != "15.2.0" || k.machine.specs[k.r.InstanceID].Build != "15.2" {
				t.Errorf("after the upgrade it is %+v", fetched.MaintenanceInfo)
			}
			k.at(k.opening())
			if n := k.maintain(); n != 0 {
				t.Errorf("%d operations are begun for an upgrade that is done", n)
			}
		})
	}
}

// TestFailedUpgradeRests: it is tried once in each window.
func TestFailedUpgradeRests(t *testing.T) {
	t.Parallel()
	k := onTuesdays(t)
	k.machine.alter(func(s *simulated) { s.build, s.most = "15.2", 1 })
	for week := range 2 {
		k.at(k.opening().Add(time.Duration(week) * 7 * 24 * time.Hour))
		for look, want := range []int{1, 0} {
			if n := k.maintain(); n != want {
				t.Errorf("week %d, look %d: %d operations are begun, want %d", week, look, n, want)
			}
		}
	}
	if op := k.last(""); op.State != backstay.Succeeded {
		t.Errorf("users are told %+v of what they did not ask for", op)
	}
}

// TestRepeatedRequest: a platform that has crashed asks once more, and causes one restart.
func TestRepeatedRequest(t *testing.T) {
	t.Parallel()
	k := onTuesdays(t)
	r := backstay.UpdateRequest{InstanceID: k.r.InstanceID, Parameters: json.RawMessage(`{"reboot": true}`)}
	r.RequestID = "job"
	first, err := k.Update(t.Context(), r)
	must(t, err)
	again, err := k.Update(t.Context(), r)
	must(t, err)
	must(t, k.Work(t.Context(), k.r.InstanceID, first.Operation, false))
	ended, err := k.Update(t.Context(), r)
	must(t, err)
	if again != first || ended.Async || ended.Operation != first.Operation {
		t.Errorf("answered with %+v, %+v and %+v", first, again, ended)
	}
	if n := k.machine.restarts[k.r.InstanceID]; n != 1 {
		t.Errorf("%d restarts, want 1", n)
	}
}

// TestRowsTellWindows: an engine that describes itself in rows knows nothing of windows, so the platform adds them.
func TestRowsTellWindows(t *testing.T) {
	t.Parallel()
	k := onTuesdays(t)
	const rows = "---\n   status               : available"
	k.machine.alter(func(s *simulated) { s.message = rows })
	k.update(`{"enable_extensions": ["citext"]}`, "")
	op := k.update(`{"preferred_maintenance_window": "wed:04:00-wed:04:30"}`, "")
	want := rows + "\n   maintenance window   : wed:04:00-wed:04:30\n   daily backup window  : 02:00-02:30"
	if op.Description != want {
		t.Errorf("users are told\n%s\nwant\n%s", op.Description, want)
	}
	op = k.update(`{"apply_at_maintenance_window": true}`, "M")
	want += "\n   pending change       : plan M-dedicated-15, from Wed 2026-12-02 04:00 UTC"
	if op.Description != want {
		t.Errorf("users are told\n%s\nwant\n%s", op.Description, want)
	}
	if op = k.update(`{"enable_extensions": ["citext"]}`, ""); op.Description != want {
		t.Errorf("after an update to what there is already users are told\n%s\nwant\n%s", op.Description, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := k.AwaitOperation(ctx, backstay.LastOperationRequest{InstanceID: k.r.InstanceID}, op)
	if err == nil {
		t.Error("what users are told already is told as news")
	}
}

// TestOlderInstanceHasWindows: of one that was made before there were windows, nothing is kept.
func TestOlderInstanceHasWindows(t *testing.T) {
	t.Parallel()
	h, _, _ := onSimulated(t)
	r := h.made(t)
	h.Store = forgetting{h.Store}
	k := &kept{house: h, t: t, r: r}
	_, first := k.fetch()
	_, again := k.fetch()
	if first.Maintenance == "" || first.Maintenance != again.Maintenance || first.Backup != again.Backup {
		t.Errorf("users are told %+v, and then %+v", first, again)
	}
}

// forgetting is a ledger of the version before, which knew no windows.
type forgetting struct{ broker.Store }

func (f forgetting) Instance(ctx context.Context, id backstay.InstanceID) (broker.Instance, error) {
	in, err := f.Store.Instance(ctx, id)
	in.Windows = terms.Windows{}
	return in, err
}
