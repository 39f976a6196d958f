package broker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// Archive is what it takes to restore an instance that was deleted. It outlives the instance for as long as its backend
// keeps backups of it.
type Archive struct {
	ID             backstay.InstanceID
	ServiceID      backstay.ServiceID
	PlanID         backstay.ServicePlanID
	OrganizationID backstay.OrganizationID
	SpaceID        backstay.SpaceID
	Name           string // the users' for it when it was made; empty: not told
	Backend        string
	Engine         string
	Version        string // as plans name it
	Storage        backstay.Bytes
	Encrypted      bool   // at rest
	Key            []byte // of its backups, sealed
	DeletedAt      time.Time
}

// archiveOf returns what a backend keeps of instances; nil if it takes no backups.
func (b *Broker) archiveOf(name string) backend.Archive {
	keeps, _ := b.Backends[name].(backend.Archive)
	return keeps
}

// backupsOf tells what is kept of an instance in a backend. NotFound is nothing.
func (b *Broker) backupsOf(ctx context.Context, name string, id backstay.InstanceID) (backend.Backups, error) {
	keeps := b.archiveOf(name)
	if keeps == nil {
		return backend.Backups{}, backstay.Errorf(backstay.NotFound, "There are no backups of service instance %s.", id)
	}
	return keeps.Backups(ctx, id)
}

// newKey returns one that no other instance has.
func newKey() backstay.Secret {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	return backstay.Secret(hex.EncodeToString(key))
}

// withVolumeKey gives the volume of a new instance a key, if it is to be encrypted.
func withVolumeKey(v backend.Volume) backend.Volume {
	if v.Encrypted {
		v.Key = newKey()
	}
	return v
}

// withKey gives the policy of an instance a key, if it has none yet.
func withKey(policy *backend.BackupPolicy) *backend.BackupPolicy {
	if policy == nil || policy.Key != "" {
		return policy
	}
	own := *policy
	own.Key = newKey()
	return &own
}

// keepArchive records what is kept of an instance that is about to go. Nothing is of one that has never served, or
// that was not backed up. One whose Spec cannot be read, with the key of its backups in it, can be deleted all the
// same.
func (b *Broker) keepArchive(ctx context.Context, in Instance) error {
	if in.Spec == nil {
		return nil
	}
	spec, err := b.openSpec(in.ID, in.Spec)
	if err != nil {
		b.Log.Error("the backups of an instance that is deleted cannot be restored: their key is lost", "instance", in.ID,
			"error", err)
		return nil
	}
	if spec.Backup == nil {
		return nil
	}
	return b.Store.KeepArchive(ctx, Archive{
		ID: in.ID, ServiceID: in.ServiceID, PlanID: in.PlanID, OrganizationID: in.OrganizationID, SpaceID: in.SpaceID,
		Name: in.Name, Backend: in.Backend, Engine: spec.Engine, Version: spec.Version, Storage: spec.Size.Storage,
		Encrypted: spec.Volume.Encrypted, Key: b.seal([]byte(spec.Backup.Key), archiveKeyContext(in.ID)),
	})
}

// forgetAfter is how long what is kept of a deleted instance stays in the ledger though its backend says that it keeps
// nothing: longer than any delete takes until that has taken note of it.
const forgetAfter = 24 * time.Hour

// ForgetExpired removes from the ledger what it has of deleted instances of which nothing is kept any more. Backends
// that have lost their records do not know that.
func (b *Broker) ForgetExpired(ctx context.Context) error {
	if b.Restoration.lasts() {
		return nil
	}
	archives, err := b.Store.Archives(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, a := range archives {
		if b.Now().Sub(a.DeletedAt) < forgetAfter || b.archiveOf(a.Backend) == nil {
			continue
		}
		if _, err := b.Store.Instance(ctx, a.ID); backstay.KindOf(err) != backstay.NotFound {
			failures = append(failures, err) // nil, of one whose end waits for its last backup
			continue
		}
		_, err := b.backupsOf(ctx, a.Backend, a.ID)
		if backstay.KindOf(err) == backstay.NotFound {
			err = b.Store.ForgetArchive(ctx, a.ID)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("look after what is kept of %s: %w", a.ID, err))
		}
	}
	return errors.Join(failures...)
}
