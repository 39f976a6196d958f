package market

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/backstay/backstay"
)

// Instances lists the service instances that the actor may see.
func (m *Market) Instances(
	ctx context.Context, actor backstay.Actor, f InstanceFilter,
) (List[backstay.Instance], error) {
	f.Viewer = viewer(actor)
	l, err := m.Store.Instances(ctx, f)
	if err == nil {
		m.tellHealth(ctx, l.Items)
	}
	return l, err
}

// Instance returns one service instance.
func (m *Market) Instance(
	ctx context.Context, actor backstay.Actor, id backstay.InstanceID,
) (backstay.Instance, error) {
	l, err := m.Instances(ctx, actor, InstanceFilter{IDs: []backstay.InstanceID{id}})
	return single(l, err, "Service instance")
}

// CreateInstance accepts a service instance. Whatever can be refused is refused before anything is
// written; the job does the rest.
func (m *Market) CreateInstance(ctx context.Context, actor backstay.Actor, n NewInstance) (backstay.Job, error) {
	at, err := m.permitInSpace(ctx, actor, n.SpaceID, SpaceDevelopers)
	if err != nil {
		return backstay.Job{}, err
	}
	if err := m.requireFlag(ctx, actor, instanceCreation, admin); err != nil {
		return backstay.Job{}, err
	}
	plan, err := m.buyablePlan(ctx, actor, n.PlanID, at)
	if err != nil {
		return backstay.Job{}, err
	}
	if err := n.check(); err != nil {
		return backstay.Job{}, err
	}
	failed, err := m.failedOfName(ctx, actor, n.SpaceID, n.Name)
	if err != nil {
		return backstay.Job{}, err
	}
	if failed == nil { // else it takes that one's place in the quotas, too
		if err := m.Store.AdmitInstance(ctx, at.space, plan.ID); err != nil {
			return backstay.Job{}, err
		}
	}
	in := backstay.Instance{
		ID: backstay.InstanceID(newID()), Type: backstay.Managed, SpaceID: at.space, PlanID: plan.ID, Name: n.Name,
		Tags:            n.Tags,
		MaintenanceInfo: plan.MaintenanceInfo, Metadata: n.Metadata.Applied(),
		LastOperation: m.inProgress(backstay.Create),
	}
	return m.acceptInstance(ctx, actor, in, at, failed, n)
}

// acceptInstance accepts a service instance, in the place of one that failed if that is not nil, unless the broker
// refuses it.
func (m *Market) acceptInstance(
	ctx context.Context, actor backstay.Actor, in backstay.Instance, at place, failed *backstay.Instance, n NewInstance,
) (backstay.Job, error) {
	from, err := m.supplyOf(ctx, in)
	if err != nil {
		return backstay.Job{}, err
	}
	j := m.newJob(actor, createInstance, string(in.ID), backstay.JobPolling)
	j.About = aboutInstance(from, in.ID)
	copied, err := m.copyFor(ctx, actor, in, from, n.Parameters)
	if err != nil {
		return backstay.Job{}, err
	}
	r := from.provision(callOf(j), in, at, n.Parameters)
	if copied != nil {
		r.CopyOf = copied.Of
	}
	if err := m.admitProvision(ctx, from, &r); err != nil {
		return backstay.Job{}, err
	}
	in.MaintenanceInfo = r.MaintenanceInfo
	if err := m.purgeFailed(ctx, actor, failed); err != nil {
		return backstay.Job{}, err
	}
	asked := Update{&n.Name, n.Metadata}.details()
	asked["service_plan"], asked["tags"], asked["parameters"] = in.PlanID, in.Tags, shownParameters(n.Parameters)
	j.Completed = instanceEvent(actor, "create", in, at, request(asked))
	start := instanceEvent(actor, "start_create", in, at, request(asked))
	sealed := m.sealParameters(parametersContext(in.ID), n.Parameters)
	if copied != nil {
		return j, m.Store.AcceptCopy(ctx, in, sealed, *copied, start, j)
	}
	return j, m.Store.AcceptInstance(ctx, in, sealed, start, j)
}

// admitProvision asks the broker whether it would refuse the instance, if it can tell. The request is then for the
// version that the instance is to have: the plan's of now, if that is newer than what is on sale.
func (m *Market) admitProvision(ctx context.Context, from supply, r *backstay.ProvisionRequest) error {
	a, ok := from.broker.(backstay.Admitter)
	if !ok {
		return nil
	}
	err := a.AdmitProvision(ctx, *r)
	if m.newerVersion(ctx, err, from.offering, &r.MaintenanceInfo, from.plan) {
		err = a.AdmitProvision(ctx, *r)
	}
	return err
}

// check refuses what no instance can be asked for with, whatever there is already.
func (n NewInstance) check() error {
	if err := (Update{&n.Name, n.Metadata}).check(); err != nil {
		return err
	}
	if err := checkTags(n.Tags); err != nil {
		return err
	}
	return checkParameters(n.Parameters)
}

// failedOfName finds an instance of a name that never came to be, for a new one to take its place; nil if the
// name is free. The name of any other instance is Taken, which the cf command takes for success: therefore it is
// Busy while that instance is being deleted.
func (m *Market) failedOfName(
	ctx context.Context, actor backstay.Actor, space backstay.SpaceID, name string,
) (failed *backstay.Instance, err error) {
	l, err := m.Instances(ctx, actor, InstanceFilter{Names: []string{name}, KnownIn: []backstay.SpaceID{space}})
	if err != nil || len(l.Items) == 0 {
		return nil, err
	}
	in := l.Items[0]
	switch op := in.LastOperation; {
	case op.Type == backstay.Delete && op.State == backstay.InProgress:
		return nil, ErrBusy(in)
	case op.Type == backstay.Create && op.State == backstay.Failed && in.SpaceID == space:
		return &in, nil
	}
	return nil, backstay.Errorf(backstay.Taken, "The service instance name is taken: %s.", name)
}

// purgeFailed removes what failedOfName has found, unless it is nil, or somebody else was quicker.
func (m *Market) purgeFailed(ctx context.Context, actor backstay.Actor, failed *backstay.Instance) error {
	if failed == nil {
		return nil
	}
	return absentIsFine(m.Store.PurgeInstance(ctx, failed.ID, m.purgedBy(actor)))
}

// checkParameters refuses anything but a JSON object, or nothing.
func checkParameters(raw []byte) error {
	if raw == nil {
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil || object == nil {
		return backstay.Errorf(backstay.Invalid, "Parameters must be a JSON object")
	}
	return nil
}

func (m *Market) sealParameters(context string, raw []byte) []byte {
	if raw == nil {
		return nil
	}
	return m.Key.Seal(raw, context)
}

func (m *Market) openParameters(context string, sealed []byte) (json.RawMessage, error) {
	if sealed == nil {
		return nil, nil
	}
	return m.Key.Open(sealed, context)
}

// updateInstanceMetadata changes the metadata of a managed instance. That is no operation of the instance, so it
// is possible while one is in progress, unless the instance is being deleted.
func (m *Market) updateInstanceMetadata(
	ctx context.Context, actor backstay.Actor, in backstay.Instance, u backstay.MetadataUpdate, e backstay.Event,
) (backstay.Instance, error) {
	if op := in.LastOperation; op.Type == backstay.Delete && op.State == backstay.InProgress {
		return in, backstay.Errorf(backstay.Invalid, "The service instance is getting deleted.")
	}
	if err := m.updateMetadata(ctx, OfInstance, string(in.ID), u, e); err != nil {
		return in, err
	}
	return m.Instance(ctx, actor, in.ID)
}

// errUnknownField says, in Cloud Foundry's words, that this type of instance does not have the field.
func errUnknownField(name string) error {
	return backstay.Errorf(backstay.Invalid, "Unknown field(s): '%s'", name)
}

// checkNames refuses a bad name, bad metadata or bad tags.
func (u InstanceUpdate) checkNames() error {
	if err := u.Update.check(); err != nil {
		return err
	}
	return checkTags(u.Tags)
}

// userProvidedField names a field of the update that a managed instance does not have; empty if there is none.
func (u InstanceUpdate) userProvidedField() string {
	switch {
	case u.Credentials != nil:
		return "credentials"
	case u.SyslogDrainURL != nil:
		return "syslog_drain_url"
	case u.RouteServiceURL != nil:
		return "route_service_url"
	}
	return ""
}

// onlyMetadata tells whether the update changes metadata, and nothing else that the market keeps of a managed
// instance.
func (u InstanceUpdate) onlyMetadata() bool {
	return u.Name == nil && u.Tags == nil && !u.Metadata.Empty()
}

// asked returns the update as an event shows it, without the fields that only user-provided instances have.
func (u InstanceUpdate) asked() details {
	asked := u.Update.details()
	if u.Tags != nil {
		asked["tags"] = u.Tags
	}
	if u.PlanID != nil {
		asked["service_plan"] = *u.PlanID
	}
	if u.Parameters != nil {
		asked["parameters"] = shownParameters(u.Parameters)
	}
	if u.MaintenanceVersion != nil {
		asked["maintenance_info"] = details{"version": *u.MaintenanceVersion}
	}
	return asked
}

// instanceFor returns an instance and its place. It is NotFound if the actor may not see the instance, and
// Forbidden if the actor has none of the roles there.
func (m *Market) instanceFor(
	ctx context.Context, actor backstay.Actor, id backstay.InstanceID, may Roles,
) (backstay.Instance, place, error) {
	in, err := m.Instance(ctx, actor, id)
	if err != nil {
		return in, place{}, err
	}
	at, err := m.permitIn(ctx, actor, in.SpaceID, may)
	return in, at, err
}

// DeleteInstance accepts the end of an instance and of its data. A user-provided one is gone at once, and
// there is no job.
func (m *Market) DeleteInstance(
	ctx context.Context, actor backstay.Actor, id backstay.InstanceID,
) (backstay.Job, error) {
	in, at, err := m.instanceFor(ctx, actor, id, SpaceDevelopers)
	if err != nil {
		return backstay.Job{}, err
	}
	if in.Type == backstay.UserProvided {
		return backstay.Job{}, m.Store.RemoveUserProvided(ctx, id, userProvidedEvent(actor, "delete", in, at, nil))
	}
	j := m.newJob(actor, deleteInstance, string(id), backstay.JobPolling)
	j.Completed = instanceEvent(actor, "delete", in, at, nil)
	return j, m.Store.AcceptInstanceDeletion(
		ctx, id, m.inProgress(backstay.Delete), instanceEvent(actor, "start_delete", in, at, nil), j,
	)
}

// InstanceParameters returns the parameters in force, as the broker tells them: an object, or nil. It is Busy while an
// operation runs, which may change them.
func (m *Market) InstanceParameters(
	ctx context.Context, actor backstay.Actor, id backstay.InstanceID,
) (json.RawMessage, error) {
	in, at, err := m.instanceFor(ctx, actor, id, SpaceReaders)
	if err != nil {
		return nil, err
	}
	if in.Type == backstay.UserProvided {
		return nil, errParametersNotFetched
	}
	from, err := m.supplyOf(ctx, in)
	if err != nil {
		return nil, err
	}
	if !from.offering.InstancesRetrievable {
		return nil, errParametersNotFetched
	}
	switch op := in.LastOperation; {
	case op.State == backstay.InProgress:
		return nil, ErrBusy(in)
	case op.Type == backstay.Create && op.State == backstay.Failed:
		return nil, backstay.Errorf(backstay.NotFound, "Service instance not found")
	}
	fetched, err := from.broker.FetchInstance(ctx, from.fetch(callFor(actor, ""), id))
	if err != nil {
		return nil, err
	}
	return fetched.Parameters, m.recordRead(ctx, instanceEvent(actor, "show", in, at, nil))
}

// NotCreated refuses, as Invalid, to do something with an instance if its creation has failed: it was never there. What
// is to be done is said as a participle, such as "bound".
func NotCreated(in backstay.Instance, done string) error {
	if op := in.LastOperation; op.Type != backstay.Create || op.State != backstay.Failed {
		return nil
	}
	return backstay.Errorf(backstay.Invalid,
		"The service instance %s cannot be %s: its creation failed. Delete it and create it again.", in.Name, done)
}

// ErrBusy refuses what has to wait for the operation of an instance. What a deletion waits for is told with it: it may
// wait for days, as for a repository that is away, and whoever wants the name again asks for the instance no more.
func ErrBusy(in backstay.Instance) error {
	sentence := fmt.Sprintf("An operation for service instance %s is in progress.", in.Name)
	if op := in.LastOperation; op.Type == backstay.Delete && op.Description != begun(op.Type) {
		sentence = withSentence(sentence, op.Description)
	}
	return backstay.Errorf(backstay.Busy, "%s", sentence)
}

var errParametersNotFetched = backstay.Errorf(backstay.Unsupported,
	"This service does not support fetching service instance parameters.")
