package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker/terms"
)

// FetchInstance tells an instance as it is in force. There is none until it has been made.
func (b *Broker) FetchInstance(
	ctx context.Context, r backstay.FetchInstanceRequest,
) (backstay.FetchedInstance, error) {
	in, err := b.Store.Instance(ctx, r.InstanceID)
	if err == nil && in.Spec == nil {
		err = backstay.Errorf(backstay.NotFound, "Service instance not found")
	}
	if err != nil {
		return backstay.FetchedInstance{}, err
	}
	accepted, err := b.accepted(in)
	if err != nil {
		return backstay.FetchedInstance{}, err
	}
	p, err := b.planOf(ctx, in)
	if err != nil {
		p = plan{} // what is in force is told though the backend is not there, or does not sell it any more
	}
	told, err := b.toldParameters(ctx, in, accepted, p)
	if err != nil {
		return backstay.FetchedInstance{}, err
	}
	return backstay.FetchedInstance{
		ServiceID: in.ServiceID, PlanID: in.PlanID, Parameters: told,
		MaintenanceInfo: p.infoOf(accepted.Spec.Engine, buildOf(accepted)),
	}, nil
}

// infoOf tells the full version of an instance of the engine. Where there is nothing newer for its data, that is the
// plan's own version: platforms offer what differs from it as an upgrade.
func (p plan) infoOf(engine, build string) *backstay.MaintenanceInfo {
	info := maintenanceInfo(cmp.Or(p.engine.Product, engine), build)
	if info != nil && p.MaintenanceInfo != nil && p.isCurrent(build) {
		info.Version = p.MaintenanceInfo.Version
	}
	return info
}

// buildOf is the full version that an instance keeps until it is upgraded; empty while that is not known.
func buildOf(a terms.Accepted) string { return cmp.Or(a.Spec.Build, a.Build) }

// maintenanceInfo tells a full version in the form that platforms compare (OSB 2.17, "Maintenance Info Object"): what a
// product stands on is what Semantic Versioning calls build metadata, as in 2.7.0+on.PostgreSQL.18.6.
func maintenanceInfo(product, build string) *backstay.MaintenanceInfo {
	if build == "" {
		return nil
	}
	own, below, stands := strings.Cut(build, " ")
	own, _, _ = strings.Cut(own, "-") // what follows is no number
	parts := append(strings.Split(own, "."), "0", "0")
	version := strings.Join(parts[:3], ".")
	if stands {
		version += "+" + strings.Join(strings.FieldsFunc(below, isNoMetadata), ".")
	}
	return &backstay.MaintenanceInfo{Version: version, Description: product + " " + build}
}

// isNoMetadata tells what cannot stand in an identifier of build metadata.
func isNoMetadata(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-'
}

// toldParameters are those in force, as users gave them, with what the platform adds: windows, the version, what may be
// set, what can be restored, and what waits.
func (b *Broker) toldParameters(
	ctx context.Context, in Instance, a terms.Accepted, p plan,
) (json.RawMessage, error) {
	told := map[string]any{}
	if a.Parameters != nil {
		if err := json.Unmarshal(a.Parameters, &told); err != nil {
			return nil, fmt.Errorf("decode parameters of %s: %w", in.ID, err)
		}
	}
	told["preferred_maintenance_window"] = a.Windows.Maintenance.String()
	told["preferred_backup_window"] = a.Windows.Backup.String()
	if build := buildOf(a); build != "" {
		told["version"] = build
	}
	if p.engine.Settings != nil {
		told["available_settings"] = p.engine.Settings
	}
	b.tellStorage(ctx, in, a.Spec.Volume, told)
	b.tellBackups(ctx, in, a.Spec, told)
	if a.Spec.Nodes > 1 {
		tellReading(a.Spec.Reading, told)
	}
	b.tellNodes(ctx, in, a.Spec, told)
	if in.Pending.ID != "" {
		pending, err := b.toldPending(in)
		if err != nil {
			return nil, err
		}
		told["pending_change"] = pending
	}
	return json.Marshal(told)
}

// tellStorage adds how much the instance stores, whether its plan's storage is more than a word, and how its data is
// encrypted, where its backend sees that.
func (b *Broker) tellStorage(ctx context.Context, in Instance, v backend.Volume, told map[string]any) {
	if v.Encrypted {
		told["encryption_at_rest"] = "yes"
	}
	gauge, ok := b.Backends[in.Backend].(backend.Gauge)
	if !ok {
		return
	}
	storage, err := gauge.Storage(ctx, in.ID)
	if err != nil {
		b.Log.Warn("it is not known how much an instance stores", "instance", in.ID, "error", err)
		return
	}
	told["disk_used"] = (storage.Used / backstay.MB * backstay.MB).String()
	told["storage_enforced"] = storage.Enforced
	if v.Encrypted && storage.Encryption != "" {
		told["encryption_at_rest"] = storage.Encryption
	}
}

// tellReading adds who serves reads, as it is where users have not said.
func tellReading(r backend.Reading, told map[string]any) {
	told["read_replicas"], told["max_replica_lag"] = 0, int(r.Limit()/time.Second)
	if r.Standby() {
		told["read_replicas"] = 1
	}
	if r.Replicas != nil {
		told["read_replicas"] = *r.Replicas
	}
}

// pendingChange is a change that waits, as users are told of it.
type pendingChange struct {
	Plan       string          `json:"plan,omitempty"`
	Parameters json.RawMessage `json:"parameters,omitempty"`
	Window     string          `json:"window"`
	Begins     time.Time       `json:"begins"`
	Reason     string          `json:"postponed_because,omitempty"`
}

func (b *Broker) toldPending(in Instance) (pendingChange, error) {
	w := b.windowsOf(in.ID, in.ServiceID, in.Windows).Maintenance
	opens, _ := w.Next(later(b.Now(), in.Pending.NotBefore))
	parameters, err := b.open(in.Pending.Asked.Parameters, parametersContext(in.ID))
	return pendingChange{
		Plan: in.Pending.Asked.PlanName, Parameters: parameters, Window: w.String(), Begins: opens, Reason: in.Pending.Reason,
	}, err
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// what names what a pending change changes.
func (p pendingChange) what() string {
	var names []string
	if p.Plan != "" {
		names = append(names, "plan "+p.Plan)
	}
	var parameters map[string]any
	if json.Unmarshal(p.Parameters, &parameters) == nil {
		names = append(names, slices.Sorted(maps.Keys(parameters))...)
	}
	return strings.Join(names, ", ")
}

// when says when a pending change is made.
func (p pendingChange) when() string { return p.Begins.UTC().Format("Mon 2006-01-02 15:04 UTC") }

// LastOperation tells how an operation on an instance comes along. Of one that has succeeded it also tells what waits
// for the maintenance window now.
func (b *Broker) LastOperation(ctx context.Context, r backstay.LastOperationRequest) (backstay.Operation, error) {
	_, told, err := b.lastOperation(ctx, r)
	return told, err
}

// lastOperation returns an operation as the ledger has it, and as users are told of it.
func (b *Broker) lastOperation(
	ctx context.Context, r backstay.LastOperationRequest,
) (kept, told backstay.Operation, err error) {
	op, err := b.Store.LastOperation(ctx, r.InstanceID, r.Operation)
	if err == nil && r.Operation != "" && uuid.Validate(string(r.Operation)) != nil { // others may have been forgotten
		return kept, told, backstay.Errorf(backstay.Invalid, "There was never an operation of that key.")
	}
	if err != nil || op.State != backstay.Succeeded {
		return op.Operation, op.Operation, err
	}
	in, err := b.Store.Instance(ctx, r.InstanceID)
	if err != nil {
		return op.Operation, op.Operation, err
	}
	told = op.Operation
	told.Description, err = b.describe(in, op.Description, op.Notice)
	return op.Operation, told, err
}

// AwaitOperation tells it as soon as there is something new.
func (b *Broker) AwaitOperation(
	ctx context.Context, r backstay.LastOperationRequest, seen backstay.Operation,
) (backstay.Operation, error) {
	for {
		kept, told, err := b.lastOperation(ctx, r)
		if err != nil || told.State != seen.State || told.Description != seen.Description {
			return told, err
		}
		if _, err := b.Store.AwaitOperation(ctx, r.InstanceID, r.Operation, kept); err != nil {
			return told, err
		}
	}
}

// describe adds what the platform knows of an instance to what its engine says: what is to be told of the operation,
// what waits for the maintenance window, and the windows if the engine describes itself in rows.
func (b *Broker) describe(in Instance, said, notice string) (string, error) {
	var pending pendingChange
	var err error
	if in.Pending.ID != "" {
		if pending, err = b.toldPending(in); err != nil {
			return said, err
		}
	}
	if isRows(said) {
		return b.describeInRows(in, said, notice, pending), nil
	}
	if (notice != "" || in.Pending.ID != "") && said != "" && !strings.HasSuffix(said, ".") {
		said += "."
	}
	said = strings.TrimSpace(said + " " + notice)
	if in.Pending.ID == "" {
		return said, nil
	}
	sentence := fmt.Sprintf("Pending until the maintenance window %s: %s, from %s.",
		pending.Window, pending.what(), pending.when())
	if pending.Reason != "" {
		tried := "As things are now, it could not be done: "
		if in.Pending.wasTried() {
			tried = "In the window before it could not be done: "
		}
		sentence += " " + tried + pending.Reason
	}
	return strings.TrimSpace(said + " " + sentence), nil
}

// isRows tells whether an engine describes itself in rows, one line each, after a line of dashes.
func isRows(said string) bool { return strings.HasPrefix(said, "---\n") }

// addRow adds a row to rows, indented as those are.
func addRow(said, name, value string) string {
	first := strings.TrimPrefix(said, "---\n")
	indent := first[:len(first)-len(strings.TrimLeft(first, " "))]
	return said + fmt.Sprintf("\n%s%-20s : %s", indent, name, value)
}

// describeInRows adds what the platform knows to rows.
func (b *Broker) describeInRows(in Instance, said, notice string, pending pendingChange) string {
	windows := b.windowsOf(in.ID, in.ServiceID, in.Windows)
	rows := [][2]string{
		{"maintenance window", windows.Maintenance.String()}, {"daily backup window", windows.Backup.String()},
	}
	if notice != "" {
		rows = append(rows, [2]string{"restored", notice})
	}
	if in.Pending.ID != "" {
		rows = append(rows, [2]string{"pending change", pending.what() + ", from " + pending.when()})
	}
	if pending.Reason != "" {
		rows = append(rows, [2]string{"not possible so far", pending.Reason})
	}
	for _, row := range rows {
		said = addRow(said, row[0], row[1])
	}
	return said
}

// newWindows says which windows an update has brought.
func newWindows(w terms.Windows) string {
	return fmt.Sprintf("The maintenance window is %s, and the backup window is %s.", w.Maintenance, w.Backup)
}

// updated describes an update that the backend has made. What it has seen of a restart that was asked for is told, and
// the windows are told where the engine says nothing in rows, to which they are added anyhow.
func (b *Broker) updated(in Instance, op Operation, serves backend.Status) string {
	said := serves.Message
	if op.Windows != (terms.Windows{}) && !isRows(said) {
		said = newWindows(b.windowsOf(in.ID, in.ServiceID, op.Windows))
	}
	d := serves.Drill
	switch {
	case d == nil || d.Generation != op.Generation || d.Ended.IsZero():
		return said
	case isRows(said):
		return addRow(said, "last drill", DrillSentence(*d))
	case op.Windows == (terms.Windows{}):
		return DrillSentence(*d)
	}
	return said + " " + DrillSentence(*d)
}

// arranged describes an update that the backend has nothing to do for, or not now. Rows stay; what else an engine said
// of itself was said at another time.
func arranged(in Instance, c change) string {
	switch {
	case isRows(in.Operation.Description):
		return in.Operation.Description
	case c.movesWindows():
		return newWindows(c.Windows)
	case c.When == terms.Withdraw:
		return "Nothing waits for the maintenance window any more."
	}
	return ""
}
