package market

import (
	"context"
	"encoding/json"
	"time"

	"github.com/backstay/backstay"
)

// Bindings lists the service credential bindings that the actor may see, without their credentials.
func (m *Market) Bindings(ctx context.Context, actor backstay.Actor, f BindingFilter) (List[backstay.Binding], error) {
	f.Viewer = viewer(actor)
	return m.Store.Bindings(ctx, f)
}

// Binding returns one binding.
func (m *Market) Binding(ctx context.Context, actor backstay.Actor, id backstay.BindingID) (backstay.Binding, error) {
	l, err := m.Bindings(ctx, actor, BindingFilter{IDs: []backstay.BindingID{id}})
	return single(l, err, "Service credential binding")
}

// CreateBinding accepts a binding of an instance to an app, or a service key. To a user-provided instance
// an app is bound at once, and there is no job.
func (m *Market) CreateBinding(
	ctx context.Context, actor backstay.Actor, n NewBinding,
) (backstay.Binding, backstay.Job, error) {
	in, at, err := m.checkNewBinding(ctx, actor, n)
	if err != nil {
		return backstay.Binding{}, backstay.Job{}, err
	}
	b := backstay.Binding{
		ID: backstay.BindingID(newID()), Type: n.Type, Name: n.Name, InstanceID: in.ID, InstanceType: in.Type,
		AppID: n.AppID, SpaceID: at.space,
		ExpiresAt: n.ExpiresAt, Metadata: n.Metadata.Applied(), LastOperation: m.inProgress(backstay.Create),
	}
	told := Update{&n.Name, n.Metadata}.details()
	if in.Type == backstay.UserProvided {
		return b, backstay.Job{}, m.bindUserProvided(ctx, actor, b, n.limit(), at, bindingDetails(b, told))
	}
	j := m.newJob(actor, createBinding, string(b.ID), backstay.JobPolling)
	if err := m.admitBind(ctx, j, in, b, n.Parameters); err != nil {
		return backstay.Binding{}, backstay.Job{}, err
	}
	if j.About, err = m.aboutBinding(ctx, b); err != nil {
		return backstay.Binding{}, backstay.Job{}, err
	}
	told["parameters"] = shownParameters(n.Parameters)
	asked := bindingDetails(b, told)
	j.Completed = bindingEvent(actor, "create", b, at, asked)
	sealed := m.sealParameters(bindingParametersContext(b.ID), n.Parameters)
	return b, j, m.Store.AcceptBinding(ctx, b, n.limit(), sealed, bindingEvent(actor, "start_create", b, at, asked), j)
}

// admitBind refuses to bind to a plan that allows no bindings, and asks the broker whether it would refuse the
// binding, if it can tell.
func (m *Market) admitBind(
	ctx context.Context, j backstay.Job, in backstay.Instance, b backstay.Binding, parameters []byte,
) error {
	from, err := m.supplyOf(ctx, in)
	if err != nil {
		return err
	}
	if !from.plan.Bindable {
		return backstay.Errorf(backstay.Invalid, "Service plan does not allow bindings.")
	}
	if a, ok := from.broker.(backstay.Admitter); ok {
		return a.AdmitBind(ctx, from.bind(callOf(j), b, backstay.Context{}, parameters))
	}
	return nil
}

// checkNewBinding refuses a binding that cannot be made. It returns the binding's instance and place: a binding to
// an app is where the app is, and a service key is where the instance is.
func (m *Market) checkNewBinding(
	ctx context.Context, actor backstay.Actor, n NewBinding,
) (in backstay.Instance, at place, err error) {
	if err := n.checkName(); err != nil {
		return in, at, err
	}
	if err := checkParameters(n.Parameters); err != nil {
		return in, at, err
	}
	if err := checkMetadata(n.Metadata); err != nil {
		return in, at, err
	}
	in, err = m.Instance(ctx, actor, n.InstanceID)
	if backstay.KindOf(err) == backstay.NotFound {
		return in, at, backstay.Errorf(backstay.Invalid, "The service instance could not be found: '%s'", n.InstanceID)
	}
	if err != nil {
		return in, at, err
	}
	if at, err = m.permitBinding(ctx, actor, in, n); err != nil {
		return in, at, err
	}
	if in.Type == backstay.UserProvided {
		return in, at, checkUserProvidedBinding(n)
	}
	if in.LastOperation.State == backstay.InProgress {
		return in, at, ErrBusy(in)
	}
	return in, at, NotCreated(in, "bound")
}

// bindingsAtOnce is how many bindings an app may have to one instance, whose credentials are being changed. Cloud
// Foundry's limit is the same, unless an operator sets another.
const bindingsAtOnce = 5

func (n NewBinding) limit() int {
	if n.Multiple {
		return bindingsAtOnce
	}
	return 1
}

// checkName refuses a name that cannot be: a key needs one, a binding to an app may have one.
func (n NewBinding) checkName() error {
	switch {
	case n.Type == backstay.KeyBinding:
		return checkName(n.Name)
	case n.Name != "":
		return checkBindingName(n.Name)
	}
	return nil
}

func (m *Market) permitBinding(
	ctx context.Context, actor backstay.Actor, in backstay.Instance, n NewBinding,
) (place, error) {
	if n.Type == backstay.KeyBinding {
		return m.permitIn(ctx, actor, in.SpaceID, SpaceDevelopers)
	}
	_, at, err := m.appFor(ctx, actor, n.AppID, SpaceDevelopers)
	if backstay.KindOf(err) == backstay.NotFound {
		err = backstay.Errorf(backstay.Invalid, "The app could not be found: '%s'", n.AppID)
	}
	return at, err
}

// DeleteBinding accepts the end of a binding: its credentials stop working. Those of a user-provided
// instance are not ours to stop: the binding is gone at once, and there is no job.
func (m *Market) DeleteBinding(
	ctx context.Context, actor backstay.Actor, id backstay.BindingID,
) (backstay.Job, error) {
	b, at, err := m.bindingFor(ctx, actor, id, SpaceDevelopers)
	if err != nil {
		return backstay.Job{}, err
	}
	if b.InstanceType == backstay.UserProvided {
		e := bindingEvent(actor, "delete", b, at, bindingDetails(b, nil))
		return backstay.Job{}, m.Store.RemoveBinding(ctx, id, e, nil)
	}
	j := m.newJob(actor, deleteBinding, string(id), backstay.JobPolling)
	j.Completed = bindingEvent(actor, "delete", b, at, bindingDetails(b, nil))
	return j, m.Store.AcceptBindingDeletion(
		ctx, id, m.inProgress(backstay.Delete), bindingEvent(actor, "start_delete", b, at, bindingDetails(b, nil)), j,
	)
}

// bindingFor returns a binding and its place. It is NotFound if the actor may not see the binding, and Forbidden
// if the actor has none of the roles there.
func (m *Market) bindingFor(
	ctx context.Context, actor backstay.Actor, id backstay.BindingID, may Roles,
) (backstay.Binding, place, error) {
	b, err := m.Binding(ctx, actor, id)
	if err != nil {
		return b, place{}, err
	}
	at, err := m.permitIn(ctx, actor, b.SpaceID, may)
	return b, at, err
}

// Credentials returns the credentials of a binding. It is NotFound until they have been made.
func (m *Market) Credentials(
	ctx context.Context, actor backstay.Actor, id backstay.BindingID,
) (backstay.Credentials, error) {
	b, at, err := m.bindingFor(ctx, actor, id, SecretReaders)
	if err != nil {
		return nil, err
	}
	c, err := m.credentials(ctx, id)
	if err != nil {
		return nil, err
	}
	return c, m.recordRead(ctx, bindingEvent(actor, "show", b, at, bindingDetails(b, nil)))
}

// extras are what a binding gives besides its credentials and the address of its log drain, as they are sealed.
type extras struct {
	RouteServiceURL string
	VolumeMounts    json.RawMessage
}

// BindingDetails returns all that a binding gives. It is NotFound until that has been made.
func (m *Market) BindingDetails(
	ctx context.Context, actor backstay.Actor, id backstay.BindingID,
) (d backstay.BindingDetails, err error) {
	if d.Credentials, err = m.Credentials(ctx, actor, id); err != nil {
		return d, err
	}
	b, err := m.Binding(ctx, actor, id)
	if err != nil {
		return d, err
	}
	sealed, err := m.Store.BindingExtras(ctx, id)
	if err != nil {
		return d, err
	}
	var more extras
	err = m.openJSON(extrasContext(id), sealed, &more)
	d.SyslogDrainURL, d.RouteServiceURL, d.VolumeMounts = b.SyslogDrainURL, more.RouteServiceURL, more.VolumeMounts
	return d, err
}

func (m *Market) credentials(ctx context.Context, id backstay.BindingID) (c backstay.Credentials, err error) {
	_, sealed, err := m.Store.BindingSecrets(ctx, id)
	if err != nil {
		return nil, err
	}
	return m.openCredentials(id, sealed)
}

func (m *Market) openCredentials(id backstay.BindingID, sealed []byte) (c backstay.Credentials, err error) {
	if sealed == nil {
		return nil, backstay.Errorf(backstay.NotFound, "Service credential binding has no credentials yet")
	}
	return c, m.openJSON(credentialsContext(id), sealed, &c)
}

// BindingParameters returns the parameters that a binding was created with, which never change; nil if there were
// none.
func (m *Market) BindingParameters(
	ctx context.Context, actor backstay.Actor, id backstay.BindingID,
) (json.RawMessage, error) {
	b, at, err := m.bindingFor(ctx, actor, id, SecretReaders)
	if err != nil {
		return nil, err
	}
	sealed, _, err := m.Store.BindingSecrets(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := m.recordRead(ctx, bindingEvent(actor, "show", b, at, bindingDetails(b, nil))); err != nil {
		return nil, err
	}
	return m.openParameters(bindingParametersContext(id), sealed)
}

// planOf returns the plan and the offering of an instance, even if they are hidden from its users.
func (m *Market) planOf(ctx context.Context, in backstay.Instance) (p backstay.Plan, o backstay.Offering, err error) {
	plans, err := m.Store.Plans(ctx, PlanFilter{IDs: []backstay.PlanID{in.PlanID}})
	if p, err = single(plans, err, "Service plan"); err != nil {
		return p, o, err
	}
	offerings, err := m.Store.Offerings(ctx, OfferingFilter{IDs: []backstay.OfferingID{p.OfferingID}})
	o, err = single(offerings, err, "Service offering")
	return p, o, err
}

// Job returns a job that the actor asked for. Those who see everything see everybody's jobs.
func (m *Market) Job(ctx context.Context, actor backstay.Actor, id backstay.JobID) (backstay.Job, error) {
	j, err := m.Store.Job(ctx, id)
	if err == nil && viewer(actor) != nil && j.By.UserID != actor.UserID {
		return backstay.Job{}, backstay.Errorf(backstay.NotFound, "Job not found")
	}
	return j, err
}

// AwaitJob returns the job as soon as it has ended, or as it is when limit has passed.
func (m *Market) AwaitJob(ctx context.Context, id backstay.JobID, limit time.Duration) (backstay.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return m.Store.AwaitJob(ctx, id)
}
