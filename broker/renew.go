package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/pki"
)

// How long it is from one look at all certificates to the next: where everything that was due is being renewed, and
// at first where something could not be.
const (
	renewPause = time.Hour
	renewAgain = 10 * time.Second
)

// KeepCertified renews certificates until ctx ends, and then returns ctx's error. It looks at once, then from time to
// time, and whenever the certifier is said to have another certificate.
func (b *Broker) KeepCertified(ctx context.Context, another <-chan struct{}) error {
	for pause := renewAgain; ; {
		left, err := b.RenewCertificates(ctx)
		if err != nil && ctx.Err() == nil {
			b.Log.Warn("not all certificates could be looked at", "error", err)
		}
		if pause = min(2*pause, renewPause); left == 0 && err == nil {
			pause = renewPause
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		case <-another:
			pause = renewAgain
		}
	}
}

// RenewCertificates begins an operation for each instance whose certificate is due: for one that ends, or does not
// prove what the endpoint is reached by, or where somebody else certifies now. It is of the platform's own accord,
// takes no restart where the engine can reload, and does not wait for a maintenance window, in which the machine may be
// off. It returns how many instances are left for the next look, because they do not serve now or something else is
// being done to them.
func (b *Broker) RenewCertificates(ctx context.Context) (left int, err error) {
	entries, err := b.Store.Entries(ctx)
	if err != nil {
		return 0, err
	}
	var failures []error
	for _, e := range entries {
		if e.Generation == 0 {
			continue
		}
		err := b.renewCertificate(ctx, e.ID)
		switch {
		case err == nil:
		case backstay.KindOf(err) == backstay.Busy:
			left++
		default:
			failures = append(failures, fmt.Errorf("renew the certificate of %s: %w", e.ID, err))
		}
	}
	return left, errors.Join(failures...)
}

// renewCertificate begins the operation if there is to be one. It is Busy if that can only be done later.
func (b *Broker) renewCertificate(ctx context.Context, id backstay.InstanceID) error {
	in, err := b.Store.Instance(ctx, id)
	if err != nil || in.Spec == nil {
		return absentIsFine(err)
	}
	spec, due, err := b.recertified(ctx, in)
	if err != nil || !due {
		return err
	}
	if err := b.ready(ctx, in); err != nil {
		return err
	}
	_, err = b.beginRenewal(ctx, in, spec)
	return absentIsFine(err)
}

// beginRenewal begins the operation that changes an instance's certificate to that of the Spec.
func (b *Broker) beginRenewal(ctx context.Context, in Instance, spec backend.Spec) (op Operation, err error) {
	op = newOperation(in.ID, backstay.Update, "The certificate of the endpoint is being renewed.")
	op.Cause, op.Generation = ByMaintenance, in.Generation
	op.Wanted.PlanID, op.Wanted.Parameters = in.PlanID, in.Parameters
	if op.Wanted.Spec, err = b.sealSpec(in.ID, spec); err != nil {
		return op, err
	}
	return b.Store.BeginOperation(ctx, op)
}

// RotateCertificate gives an instance's endpoint a certificate with another key, for the same names, whenever the one
// that it has ends. It returns the operation, to be waited for. It is Unsupported where an operator has brought the
// certificate, and Busy where it can only be done later.
func (b *Broker) RotateCertificate(ctx context.Context, id backstay.InstanceID) (backstay.OperationKey, error) {
	in, err := b.Store.Instance(ctx, id)
	if err != nil {
		return "", err
	}
	if err := usable(in); err != nil {
		return "", err
	}
	if err := b.ready(ctx, in); err != nil {
		return "", err
	}
	spec, err := b.acceptedSpec(in)
	if err != nil {
		return "", err
	}
	if spec.TLS.Authority == "" {
		return "", backstay.Errorf(backstay.Unsupported, "The endpoint's certificate is the operator's own: renew its files.")
	}
	if spec.TLS, err = b.Certifier.Issue(pki.NamesOf(spec.TLS), b.Now()); err != nil {
		return "", err
	}
	op, err := b.beginRenewal(ctx, in, spec)
	return op.ID, err
}

// recertified is what was accepted of an instance with another certificate, if one is due.
func (b *Broker) recertified(ctx context.Context, in Instance) (spec backend.Spec, due bool, err error) {
	spec, err = b.acceptedSpec(in)
	if err != nil {
		return spec, false, err
	}
	its, err := b.backendOf(in)
	if err != nil {
		return spec, false, err
	}
	names, err := its.Names(ctx, spec)
	if err != nil {
		return spec, false, fmt.Errorf("ask for the names of the endpoint: %w", err)
	}
	spec.TLS, due, err = b.Certifier.Renew(spec.TLS, names, b.Now())
	return spec, due, err
}

// ready is Busy unless the instance serves, and nothing is being done to it. An operation on one that does not serve
// would stand in the way of whoever wants to help it.
func (b *Broker) ready(ctx context.Context, in Instance) error {
	if in.Busy {
		return errBusy(in.ID)
	}
	its, err := b.backendOf(in)
	if err != nil {
		return err
	}
	s, err := its.Await(ctx, in.ID, 0)
	if err == nil && s.Phase != backend.Running || backstay.KindOf(err) == backstay.NotFound {
		return errBusy(in.ID)
	}
	return err
}
