package tenant

import (
	"context"
	"crypto/subtle"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/guess"
)

// Open returns the broker as the client of that name, who asks from an address, sees it. Whoever has another password
// is Anonymous, and is not told whether there is such a client. From the sixth wrong password on it takes longer and
// longer until another one is looked at, as for users. But a right one is always heard: nobody guesses 130 random bits,
// and a platform is not to be shut out by somebody who tries.
func (r *Registry) Open(
	ctx context.Context, name string, password backstay.Secret, address string,
) (backstay.Broker, error) {
	t, err := r.known(ctx, name)
	if err != nil {
		return nil, err
	}
	given, good := hash(password), 0
	for _, p := range t.Passwords {
		good |= subtle.ConstantTimeCompare(given, p.Hash)
	}
	if good == 0 {
		return nil, r.refuse(ctx, t, name, address)
	}
	return &view{registry: r, tenant: t, address: address}, nil
}

// known is the client of that name, and the zero Tenant if there is none, or cannot be.
func (r *Registry) known(ctx context.Context, name string) (Tenant, error) {
	if !names.MatchString(name) { // nor can it be looked for
		return Tenant{}, nil
	}
	t, err := r.Store.Tenant(ctx, name, r.Now())
	if backstay.KindOf(err) == backstay.NotFound {
		return Tenant{}, nil
	}
	return t, err
}

var errAnonymous = backstay.Errorf(backstay.Anonymous, "The name or the password of the client is wrong.")

// refuse counts a wrong password and records it, or says how long none is looked at. It is recorded with the client's
// name, not with what was given for one: that may be a password.
func (r *Registry) refuse(ctx context.Context, t Tenant, given, address string) error {
	account := t.ID
	if t.ID == "" {
		account = "nobody " + given
	}
	limits, now := guess.Limits("osb", account, address), r.Now()
	failures, err := r.Store.Failures(ctx, guess.Keys(limits))
	if err != nil {
		return err
	}
	if wait := guess.Wait(failures, limits, now); wait > 0 {
		return locked(wait)
	}
	r.Log.InfoContext(ctx, "a client of the broker was refused for its name or its password", "client", t.Name,
		"address", address)
	e := clientEvent(actorOf(t, address), t, "login_failed", nil)
	if err := r.Store.AddFailure(ctx, guess.Keys(limits), now, now.Add(-guess.ForgottenAfter), e); err != nil {
		return err
	}
	return errAnonymous
}

// locked refuses a wrong password that comes too soon after others.
func locked(wait time.Duration) error {
	err := backstay.Errorf(backstay.Anonymous,
		"The name or the password of the client is wrong, as it was too often: none but the right one is looked at for %s.",
		guess.Seconds(wait))
	return backstay.WithFailure(err, backstay.Failure{RetryAfter: wait})
}

// actorOf is a client as events name it; nobody if there is none.
func actorOf(t Tenant, address string) backstay.Actor {
	by := backstay.Actor{Client: true, Address: address}
	if t.ID != "" {
		by.UserID, by.Username = backstay.UserID(t.ID), "osb-client "+t.Name
	}
	return by
}
