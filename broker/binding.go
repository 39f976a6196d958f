package broker

import (
	"bytes"
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
}

// AdmitBind refuses parameters that Bind would refuse.
func (b *Broker) AdmitBind(ctx context.Context, r backstay.BindRequest) error {
	in, err := b.Store.Instance(ctx, r.InstanceID)
	if err != nil {
		return err
	}
	for i := range b.Offered.Offerings {
		if o := &b.Offered.Offerings[i]; o.ID == string(in.OfferingID) {
			return o.Parameters.Bind.Check(r.Parameters)
		}
	}
	return terms.Rules(nil).Check(r.Parameters)
}

// Bind gives the binding a user of its own in the instance.
func (b *Broker) Bind(ctx context.Context, r backstay.BindRequest) (backstay.Credentials, error) {
	if err := b.AdmitBind(ctx, r); err != nil {
		return nil, err
	}
	if err := b.usable(ctx, r.InstanceID); err != nil {
		return nil, err
	}
	var credentials backstay.Credentials
	err := step.Run(ctx, b.bindSteps(r, &credentials)...)
	return credentials, err
}

func (b *Broker) bindSteps(r backstay.BindRequest, credentials *backstay.Credentials) []step.Step {
	var kept Binding
	return []step.Step{
		{Name: "broker.bind.recorded", Do: func(ctx context.Context) (err error) {
			if kept, err = b.Store.AddBinding(ctx, b.newBinding(r)); err != nil {
				return err
			}
			return b.sameBinding(kept, r)
		}},
		{Name: "broker.bind.created", Do: func(ctx context.Context) error {
			user, err := b.userOf(kept)
			if err != nil {
				return err
			}
			*credentials, err = b.Backend.CreateUser(ctx, r.InstanceID, user)
			return err
		}},
	}
}

func (b *Broker) newBinding(r backstay.BindRequest) Binding {
	n := Binding{
		ID: r.BindingID, InstanceID: r.InstanceID, Username: username(r.BindingID),
		Password: b.Key.Seal([]byte(newPassword()), passwordContext(r.BindingID)),
	}
	if r.Parameters != nil {
		n.Parameters = b.Key.Seal(r.Parameters, bindingParametersContext(r.BindingID))
	}
	return n
}

// sameBinding refuses an id that is in use for something else (OSB 2.17, "Binding", 409).
func (b *Broker) sameBinding(kept Binding, r backstay.BindRequest) error {
	parameters, err := b.openBindingParameters(kept)
	if err != nil {
		return err
	}
	if kept.InstanceID != r.InstanceID || !bytes.Equal(parameters, r.Parameters) {
		return backstay.Errorf(backstay.Taken, "Service binding %s exists with other attributes.", r.BindingID)
	}
	return nil
}

func (b *Broker) openBindingParameters(kept Binding) (json.RawMessage, error) {
	if kept.Parameters == nil {
		return nil, nil
	}
	return b.Key.Open(kept.Parameters, bindingParametersContext(kept.ID))
}

// userOf is a binding's user as the backend knows it.
func (b *Broker) userOf(kept Binding) (backend.User, error) {
	password, err := b.Key.Open(kept.Password, passwordContext(kept.ID))
	if err != nil {
		return backend.User{}, err
	}
	given, err := b.openBindingParameters(kept)
	if err != nil {
		return backend.User{}, err
	}
	var p bindParameters
	if given != nil {
		if err := json.Unmarshal(given, &p); err != nil {
			return backend.User{}, fmt.Errorf("decode parameters of binding %s: %w", kept.ID, err)
		}
	}
	return backend.User{Name: kept.Username, Password: backstay.Secret(password), ReadOnly: p.ReadOnly}, nil
}

// usable refuses an instance that has not come up, or is on its way out.
func (b *Broker) usable(ctx context.Context, id backstay.InstanceID) error {
	in, err := b.Store.Instance(ctx, id)
	switch {
	case err != nil:
		return err
	case in.Operation.State == backstay.InProgress:
		return backstay.Errorf(backstay.Busy, "An operation for service instance %s is in progress.", id)
	case in.Operation.Type == backstay.Create && in.Operation.State == backstay.Failed:
		return backstay.Errorf(backstay.Unavailable, "Service instance %s could not be created.", id)
	}
	return nil
}

// Unbind drops the binding's user and ends its sessions.
func (b *Broker) Unbind(ctx context.Context, _ backstay.InstanceID, id backstay.BindingID) error {
	kept, err := b.Store.Binding(ctx, id)
	if backstay.KindOf(err) == backstay.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return step.Run(ctx, b.unbindSteps(kept)...)
}

func (b *Broker) unbindSteps(kept Binding) []step.Step {
	return []step.Step{
		{Name: "broker.unbind.dropped", Do: func(ctx context.Context) error {
			return b.Backend.DropUser(ctx, kept.InstanceID, kept.Username)
		}},
		{Name: "broker.unbind.recorded", Do: func(ctx context.Context) error { return b.Store.RemoveBinding(ctx, kept.ID) }},
	}
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
