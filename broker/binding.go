package broker

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker/terms"
	"github.com/backstay/backstay/internal/step"
)

// bindParameters are those of a binding that we understand. Which of them an offering takes, its
// schema says; an engine is only told of them as [backend.User] has them.
type bindParameters struct {
	ReadOnly bool `json:"read_only"`
	Replica  bool `json:"replica"`
}

// AdmitBind refuses parameters that Bind would refuse.
func (b *Broker) AdmitBind(ctx context.Context, r backstay.BindRequest) error {
	in, err := b.Store.Instance(ctx, r.InstanceID)
	if err == nil {
		err = checkOffering(in, r.ServiceID)
	}
	if err == nil {
		err = b.checkPlan(ctx, in, r.PlanID)
	}
	if err != nil {
		return err
	}
	if o := b.Offered.offering(in.ServiceID); o != nil {
		return cmp.Or(o.Parameters.Bind.Check(r.Parameters), b.mayRead(in, r.Parameters))
	}
	return terms.Rules(nil).Check(r.Parameters)
}

// mayRead refuses a binding that is to read from a replica and may write, or whose instance has no replica.
func (b *Broker) mayRead(in Instance, given json.RawMessage) error {
	p, err := parseBind(given)
	if err != nil || !p.Replica {
		return err
	}
	if !p.ReadOnly {
		return backstay.Errorf(backstay.Invalid, "replica goes with read_only, since a replica takes no writes: give "+
			"{\"read_only\": true, \"replica\": true}.")
	}
	if in.Spec == nil {
		return nil // it is refused for that
	}
	accepted, err := b.accepted(in)
	switch {
	case err != nil:
		return err
	case accepted.Spec.Nodes < 2:
		return backstay.Errorf(backstay.Unsupported, "The plan has one node, and no replica to read from: leave replica "+
			"out, or change to a plan with a standby, with -p.")
	case !accepted.Spec.Reading.Standby():
		return backstay.Errorf(backstay.Unsupported, "This service instance has no replica to read from: leave replica out, "+
			"or ask for one, with -c '{\"read_replicas\": 1}'.")
	}
	return nil
}

// parseBind reads parameters that were checked.
func parseBind(given json.RawMessage) (p bindParameters, err error) {
	if given == nil {
		return p, nil
	}
	return p, json.Unmarshal(given, &p)
}

// Bind gives the binding a user of its own in the instance.
func (b *Broker) Bind(ctx context.Context, r backstay.BindRequest) (backstay.Bound, error) {
	if err := b.AdmitBind(ctx, r); err != nil {
		return backstay.Bound{}, err
	}
	in, err := b.Store.Instance(ctx, r.InstanceID)
	if err != nil {
		return backstay.Bound{}, err
	}
	if err := usable(in); err != nil {
		return backstay.Bound{}, err
	}
	var bound backstay.Bound
	if err = step.Run(ctx, b.bindSteps(in, r, &bound)...); err != nil {
		err = b.explainBind(ctx, r.InstanceID, err)
	}
	return bound, err
}

// explainBind says of a bind that failed for no reason that a user could know whether the instance has begun to
// end, or to change, since the bind began.
func (b *Broker) explainBind(ctx context.Context, id backstay.InstanceID, failure error) error {
	if backstay.KindOf(failure) != backstay.Internal {
		return failure
	}
	in, err := b.Store.Instance(ctx, id)
	if err == nil {
		err = usable(in)
	}
	if err == nil {
		return failure
	}
	return fmt.Errorf("%w (%w)", err, failure)
}

func (b *Broker) bindSteps(in Instance, r backstay.BindRequest, bound *backstay.Bound) []step.Step {
	var kept Binding
	return []step.Step{
		{Name: "broker.bind.recorded", Do: func(ctx context.Context) (err error) {
			fresh := b.newBinding(r)
			if kept, err = b.Store.AddBinding(ctx, fresh); err != nil {
				return err
			}
			bound.Existed = !bytes.Equal(kept.Password, fresh.Password)
			return b.sameBinding(kept, r)
		}},
		{Name: "broker.bind.created", Do: func(ctx context.Context) (err error) {
			if bound.Credentials, err = b.createUser(ctx, in, kept); err != nil {
				return err
			}
			return b.noteReading(ctx, in, r.Parameters)
		}},
		{Name: "broker.bind.kept", Do: func(ctx context.Context) error {
			return b.keepCredentials(ctx, r.BindingID, bound.Credentials)
		}},
	}
}

// noteReading notes where the instance is read from, if the binding is the first that was told.
func (b *Broker) noteReading(ctx context.Context, in Instance, given json.RawMessage) error {
	p, err := parseBind(given)
	if err != nil || !p.Replica || in.Reads != (backstay.Endpoint{}) {
		return err
	}
	its, err := b.backendOf(in)
	if err != nil {
		return err
	}
	return b.noteServing(ctx, its, in)
}

// createUser makes a binding's user. A backend that has lost its record of the instance is told of it first.
func (b *Broker) createUser(ctx context.Context, in Instance, kept Binding) (backstay.Credentials, error) {
	user, err := b.userOf(kept)
	if err != nil {
		return nil, err
	}
	its, err := b.backendOf(in)
	if err != nil {
		return nil, err
	}
	credentials, err := its.CreateUser(ctx, in.ID, user)
	if backstay.KindOf(err) != backstay.NotFound {
		return credentials, err
	}
	if err := b.reconcileInstance(ctx, in.ID); err != nil {
		return nil, err
	}
	return its.CreateUser(ctx, in.ID, user)
}

func (b *Broker) newBinding(r backstay.BindRequest) Binding {
	return Binding{
		ID: r.BindingID, InstanceID: r.InstanceID, Username: username(r.BindingID),
		Password:   b.seal([]byte(newPassword()), passwordContext(r.BindingID)),
		Parameters: b.seal(r.Parameters, bindingParametersContext(r.BindingID)),
	}
}

// sameBinding refuses an id that is in use for something else (OSB 2.17, "Binding", 409).
func (b *Broker) sameBinding(kept Binding, r backstay.BindRequest) error {
	parameters, err := b.open(kept.Parameters, bindingParametersContext(kept.ID))
	if err != nil {
		return err
	}
	if kept.InstanceID != r.InstanceID || !bytes.Equal(parameters, r.Parameters) {
		return backstay.Errorf(backstay.Taken, "Service binding %s exists with other attributes.", r.BindingID)
	}
	return nil
}

// userOf is a binding's user as the backend knows it.
func (b *Broker) userOf(kept Binding) (backend.User, error) {
	password, err := b.open(kept.Password, passwordContext(kept.ID))
	if err != nil {
		return backend.User{}, err
	}
	given, err := b.open(kept.Parameters, bindingParametersContext(kept.ID))
	if err != nil {
		return backend.User{}, err
	}
	p, err := parseBind(given)
	if err != nil {
		return backend.User{}, fmt.Errorf("decode parameters of binding %s: %w", kept.ID, err)
	}
	return backend.User{
		Name: kept.Username, Password: backstay.Secret(password), ReadOnly: p.ReadOnly, Replica: p.Replica,
	}, nil
}

// usable refuses an instance that has not come up, or is on its way out.
func usable(in Instance) error {
	switch {
	case in.Operation.State == backstay.InProgress:
		return errBusy(in.ID)
	case in.Operation.Type == backstay.Create && in.Operation.State == backstay.Failed:
		return backstay.Errorf(backstay.Unavailable, "Service instance %s could not be created.", in.ID)
	case in.Spec == nil:
		return backstay.Errorf(backstay.Unavailable, "Service instance %s is to be deleted.", in.ID)
	}
	return nil
}

// Unbind drops the binding's user and ends its sessions.
func (b *Broker) Unbind(ctx context.Context, r backstay.UnbindRequest) (backstay.Unbound, error) {
	kept, err := b.bindingOf(ctx, r.InstanceID, r.BindingID)
	if err != nil {
		return backstay.Unbound{}, err
	}
	in, err := b.Store.Instance(ctx, kept.InstanceID)
	if err == nil {
		err = checkOffering(in, r.ServiceID)
	}
	if err != nil {
		return backstay.Unbound{}, err
	}
	return backstay.Unbound{}, step.Run(ctx, b.unbindSteps(in, kept)...)
}

// bindingOf returns a binding of an instance. One of another instance is not there.
func (b *Broker) bindingOf(
	ctx context.Context, in backstay.InstanceID, id backstay.BindingID,
) (kept Binding, err error) {
	if kept, err = b.Store.Binding(ctx, id); err == nil && kept.InstanceID != in {
		return Binding{}, backstay.Errorf(backstay.NotFound, "Service instance '%s' has no binding '%s'.", in, id)
	}
	return kept, err
}

// FetchBinding tells a binding as Bind did, whatever is being done to its instance. There is none until its user has
// been made.
func (b *Broker) FetchBinding(
	ctx context.Context, r backstay.FetchBindingRequest,
) (f backstay.FetchedBinding, err error) {
	kept, err := b.bindingOf(ctx, r.InstanceID, r.BindingID)
	if err == nil && kept.Credentials == nil {
		err = backstay.Errorf(backstay.NotFound, "Service binding not found")
	}
	if err != nil {
		return f, err
	}
	if f.Parameters, err = b.open(kept.Parameters, bindingParametersContext(kept.ID)); err != nil {
		return f, err
	}
	if len(kept.Credentials) == 0 {
		f.Credentials, err = b.remakeCredentials(ctx, kept)
		return f, err
	}
	plain, err := b.open(kept.Credentials, credentialsContext(kept.ID))
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(plain, &f.Credentials); err != nil {
		return f, fmt.Errorf("decode credentials of binding %s: %w", kept.ID, err)
	}
	return f, nil
}

// remakeCredentials has the backend tell once more what a binding was told that nobody kept: its user is made again, as
// it is.
func (b *Broker) remakeCredentials(ctx context.Context, kept Binding) (backstay.Credentials, error) {
	in, err := b.Store.Instance(ctx, kept.InstanceID)
	if err == nil {
		err = usable(in)
	}
	if err != nil {
		return nil, err
	}
	credentials, err := b.createUser(ctx, in, kept)
	if err != nil {
		return nil, err
	}
	return credentials, b.keepCredentials(ctx, kept.ID, credentials)
}

// keepCredentials keeps what a binding is told, for whoever fetches it.
func (b *Broker) keepCredentials(ctx context.Context, id backstay.BindingID, told backstay.Credentials) error {
	plain, err := json.Marshal(told)
	if err != nil {
		return fmt.Errorf("encode credentials of binding %s: %w", id, err)
	}
	return b.Store.KeepCredentials(ctx, id, b.seal(plain, credentialsContext(id)))
}

// LastBindingOperation tells that a binding has been made: making one is not left for later here.
func (b *Broker) LastBindingOperation(
	ctx context.Context, r backstay.LastBindingOperationRequest,
) (backstay.Operation, error) {
	if _, err := b.bindingOf(ctx, r.InstanceID, r.BindingID); err != nil {
		return backstay.Operation{}, err
	}
	return backstay.Operation{Type: backstay.Create, State: backstay.Succeeded}, nil
}

func (b *Broker) unbindSteps(in Instance, kept Binding) []step.Step {
	return []step.Step{
		{Name: "broker.unbind.dropped", Do: func(ctx context.Context) error { return b.dropUser(ctx, in, kept) }},
		{Name: "broker.unbind.recorded", Do: func(ctx context.Context) error {
			return b.Store.RemoveBinding(ctx, kept.ID)
		}},
	}
}

// dropUser removes a binding's user. A backend that has lost its record of the instance is told of it first: it
// knows of no user to drop, and the data still have it.
func (b *Broker) dropUser(ctx context.Context, in Instance, kept Binding) error {
	its, err := b.backendOf(in)
	if err != nil {
		return err
	}
	if err := b.ensureRecord(ctx, its, in); err != nil {
		return err
	}
	return its.DropUser(ctx, in.ID, kept.Username)
}

// username derives a binding's user from its id: "u" and fifteen letters and digits.
func username(id backstay.BindingID) string {
	sum := sha256.Sum256([]byte(id))
	return "u" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:15]
}

// newPassword is 32 characters that need no quoting anywhere: 160 random bits.
func newPassword() string {
	bits := make([]byte, 20)
	rand.Read(bits) // never fails
	return strings.ToLower(base32.StdEncoding.EncodeToString(bits))
}
