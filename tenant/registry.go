package tenant

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/guess"
	"github.com/backstay/backstay/internal/wait"
)

// Registry knows the tenants of a broker. Its fields are set once, before use.
type Registry struct {
	Store  Store
	Broker backstay.Broker // nil for a registry that only manages
	Now    func() time.Time
	Log    *slog.Logger
}

// DefaultMaxInstances is how many instances a client may have of whom nobody says otherwise.
const DefaultMaxInstances = 100

// names are what a client can be called: what needs no quoting in a URL's user and in a shell.
var names = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Create makes a client. Its password is returned, and kept nowhere.
func (r *Registry) Create(
	ctx context.Context, by backstay.Actor, name string, maxInstances int,
) (backstay.Secret, error) {
	if !names.MatchString(name) {
		return "", backstay.Errorf(backstay.Invalid, "%q is no name of a client: want up to 63 letters, digits, dots, "+
			"dashes and underscores, a letter or a digit first.", name)
	}
	if err := checkMax(maxInstances); err != nil {
		return "", err
	}
	secret, p := r.newPassword()
	t := Tenant{
		ID: uuid.NewString(), Name: name, MaxInstances: maxInstances, Passwords: []Password{p}, CreatedAt: p.CreatedAt,
	}
	return secret, r.Store.AddTenant(ctx, t, clientEvent(by, t, "create", map[string]any{"max_instances": maxInstances}))
}

func checkMax(instances int) error {
	if instances < 0 || instances > 1_000_000 {
		return backstay.Errorf(backstay.Invalid, "A client has from 0 to 1000000 instances, not %d.", instances)
	}
	return nil
}

func (r *Registry) newPassword() (backstay.Secret, Password) {
	secret := rand.Text()
	return backstay.Secret(secret), Password{Hash: hash(backstay.Secret(secret)), CreatedAt: r.Now()}
}

func hash(s backstay.Secret) []byte {
	sum := sha256.Sum256([]byte(s.Reveal()))
	return sum[:]
}

// Rotate gives a client another password. Those that it has are good for as long as grace, so that whoever uses them
// can be told the new one first.
func (r *Registry) Rotate(
	ctx context.Context, by backstay.Actor, name string, grace time.Duration,
) (backstay.Secret, error) {
	t, err := r.find(ctx, name)
	if err != nil {
		return "", err
	}
	secret, p := r.newPassword()
	return secret, r.Store.AddPassword(ctx, t.ID, p, p.CreatedAt.Add(grace),
		clientEvent(by, t, "password_change", map[string]any{"grace": grace.String()}))
}

// Revoke takes all passwords of a client away. What it has stays, and a new password lets it in again.
func (r *Registry) Revoke(ctx context.Context, by backstay.Actor, name string) error {
	t, err := r.find(ctx, name)
	if err != nil {
		return err
	}
	return r.Store.RemovePasswords(ctx, t.ID, clientEvent(by, t, "revoke", nil))
}

// Limit changes how many instances a client may have.
func (r *Registry) Limit(ctx context.Context, by backstay.Actor, name string, instances int) error {
	if err := checkMax(instances); err != nil {
		return err
	}
	t, err := r.find(ctx, name)
	if err != nil {
		return err
	}
	return r.Store.LimitTenant(ctx, t.ID, instances, clientEvent(by, t, "update",
		map[string]any{"max_instances": instances}))
}

// List lists all clients by name.
func (r *Registry) List(ctx context.Context) ([]Tenant, error) { return r.Store.Tenants(ctx, r.Now()) }

// Instances lists what a client has asked for and has not been seen to end, the oldest first.
func (r *Registry) Instances(ctx context.Context, name string) ([]Claim, error) {
	t, err := r.find(ctx, name)
	if err != nil {
		return nil, err
	}
	return r.Store.Claims(ctx, t.ID, r.Now().Add(claimSkew))
}

// claimSkew is how much later than now by our clock an instance may have been asked for.
const claimSkew = time.Minute

func (r *Registry) find(ctx context.Context, name string) (Tenant, error) {
	t, err := r.Store.Tenant(ctx, name, r.Now())
	if backstay.KindOf(err) == backstay.NotFound {
		return t, backstay.Errorf(backstay.NotFound, "There is no client %q of the Open Service Broker API.", name)
	}
	return t, err
}

// A client's instances are looked through so often, and not before they are so old: a request that has claimed one and
// not yet asked the broker for it is over by then.
const (
	sweepEvery = time.Hour
	sweepAfter = 15 * time.Minute
)

// Run forgets, until ctx ends, which instances clients have had: of those that ended and were not asked about again,
// and of those that never came to be.
func (r *Registry) Run(ctx context.Context) error {
	return wait.Until(ctx, wait.Every(sweepEvery), func() (again bool, err error) {
		if err := r.sweepAll(ctx); err != nil && ctx.Err() == nil {
			r.Log.Warn("the instances of clients were not looked through; it is tried again", "error", err)
		}
		return true, nil
	})
}

func (r *Registry) sweepAll(ctx context.Context) error {
	if err := r.Store.ForgetFailures(ctx, r.Now().Add(-guess.ForgottenAfter)); err != nil {
		return err
	}
	all, err := r.List(ctx)
	if err != nil {
		return err
	}
	for _, t := range all {
		if err := r.sweep(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// sweep forgets the instances of a client that the broker does not know.
func (r *Registry) sweep(ctx context.Context, t Tenant) error {
	claims, err := r.Store.Claims(ctx, t.ID, r.Now().Add(-sweepAfter))
	if err != nil {
		return err
	}
	for _, c := range claims {
		_, err := r.Broker.LastOperation(ctx, backstay.LastOperationRequest{InstanceID: c.InstanceID})
		if backstay.KindOf(err) == backstay.NotFound {
			err = r.Store.Release(ctx, c.InstanceID)
		}
		if err != nil {
			return fmt.Errorf("instance %s of client %s: %w", c.InstanceID, t.Name, err)
		}
	}
	return nil
}

// clientEvent is something that an operator does with a client.
func clientEvent(by backstay.Actor, t Tenant, verb string, request map[string]any) backstay.Event {
	e := backstay.Event{
		ID: newEventID(), Type: "audit.osb_client." + verb, Actor: by,
		Target: backstay.Target{ID: t.ID, Type: "osb_client", Name: t.Name},
	}
	if request != nil {
		e.Data = encode(map[string]any{"request": request})
	}
	return e
}

func newEventID() backstay.EventID { return backstay.EventID(uuid.Must(uuid.NewV7()).String()) }

func encode(v any) json.RawMessage {
	encoded, err := json.Marshal(v)
	if err != nil {
		panic("an event is not JSON: " + err.Error()) // it is made of texts
	}
	return encoded
}
