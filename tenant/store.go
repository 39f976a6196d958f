package tenant

import (
	"context"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/guess"
)

// Tenant is a client of the Open Service Broker API: another platform that a broker is served to.
type Tenant struct {
	ID           string // a UUID, of which the broker's ids are made; another one if the name is given again
	Name         string
	MaxInstances int
	Passwords    []Password // those that are good now, the newest first
	Instances    int        // how many it has
	CreatedAt    time.Time
}

// Password is what the store knows of one: enough to recognize it, not to make it. It is made up, of 130 bits, so a
// hash that is quick to make tells nothing of it.
type Password struct {
	Hash      []byte // SHA-256
	CreatedAt time.Time
	EndsAt    time.Time // zero: when it is revoked
}

// Claim is an instance that a tenant has asked for.
type Claim struct {
	Tenant     string // its id
	InstanceID backstay.InstanceID
	ExternalID string // as the platform calls it
	CreatedAt  time.Time
}

// Store keeps tenants. Each method is one transaction, and records its event with the fact, or neither.
// tenanttest.RunStore is this contract as tests. Times are the caller's.
type Store interface {
	// AddTenant records a tenant with its first password. It is Taken if one of that name has instances or passwords; of
	// one that has neither, nothing is left.
	AddTenant(ctx context.Context, t Tenant, e backstay.Event) error
	// Tenant finds a tenant by its name, with the passwords that are good at that moment. It is NotFound if there is none.
	Tenant(ctx context.Context, name string, now time.Time) (Tenant, error)
	// Tenants lists all of them by name.
	Tenants(ctx context.Context, now time.Time) ([]Tenant, error)
	// AddPassword gives a tenant another password, and lets those before it end then, if not earlier.
	AddPassword(ctx context.Context, tenant string, p Password, others time.Time, e backstay.Event) error
	// RemovePasswords takes all of a tenant's passwords away.
	RemovePasswords(ctx context.Context, tenant string, e backstay.Event) error
	// LimitTenant changes how many instances a tenant may have. Those that it has stay.
	LimitTenant(ctx context.Context, tenant string, instances int, e backstay.Event) error

	// Claim records that a tenant asks for an instance, if it has not done so before; the event is recorded each time. It
	// is [TooMany] if the tenant has as many as it may.
	Claim(ctx context.Context, c Claim, e backstay.Event) error
	// Claims lists the instances that a tenant had asked for before then, the oldest first.
	Claims(ctx context.Context, tenant string, before time.Time) ([]Claim, error)
	// Release forgets an instance. An absent one is success.
	Release(ctx context.Context, id backstay.InstanceID) error

	// Failures of keys that have none are left out.
	Failures(ctx context.Context, keys []string) ([]guess.Failures, error)
	// AddFailure counts one more wrong password under each key; a count whose last is before forgotten starts anew.
	AddFailure(ctx context.Context, keys []string, at, forgotten time.Time, e backstay.Event) error
	// ForgetFailures forgets those whose last is before then.
	ForgetFailures(ctx context.Context, before time.Time) error

	RecordEvent(ctx context.Context, e backstay.Event) error
}

// TooMany refuses a tenant that has so many instances a further one.
func TooMany(has int) error {
	return backstay.Errorf(backstay.Unavailable,
		"The client has %d service instances, and may have no more. An operator gives it more.", has)
}
