package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/broker/terms"
)

// source is what a new instance is to begin from, with where that is and the key of its backups.
type source struct {
	terms.Source
	name    string // the users' for it when it was made
	backend string
	Key     backstay.Secret
}

// findSource finds an instance that has served, or what is kept of one that was deleted.
func (b *Broker) findSource(ctx context.Context, id backstay.InstanceID) (s source, err error) {
	in, err := b.Store.Instance(ctx, id)
	if backstay.KindOf(err) == backstay.NotFound || err == nil && in.Spec == nil {
		return b.findDeleted(ctx, id)
	}
	if err != nil {
		return s, err
	}
	spec, err := b.openSpec(id, in.Spec)
	if err != nil {
		return s, err
	}
	s.Source = terms.Source{
		ID: id, Engine: spec.Engine, Build: cmp.Or(in.Build, spec.Build, spec.Version), Storage: spec.Size.Storage,
		Place: terms.Place{Organization: in.OrganizationID, Space: in.SpaceID}, BackedUp: spec.Backup != nil,
	}
	s.backend, s.name = in.Backend, in.Name
	if spec.Backup != nil {
		s.Key = spec.Backup.Key
	}
	return s, nil
}

func (b *Broker) findDeleted(ctx context.Context, id backstay.InstanceID) (s source, err error) {
	a, err := b.Store.Archive(ctx, id)
	if backstay.KindOf(err) == backstay.NotFound {
		return s, nothingKept(id)
	}
	if err != nil {
		return s, err
	}
	key, err := b.open(a.Key, archiveKeyContext(id))
	return source{name: a.Name, backend: a.Backend, Key: backstay.Secret(key), Source: terms.Source{
		ID: id, Engine: a.Engine, Build: a.Version, Storage: a.Storage, BackedUp: true, Deleted: true,
		Place: terms.Place{Organization: a.OrganizationID, Space: a.SpaceID},
	}}, err
}

func nothingKept(id backstay.InstanceID) error {
	return backstay.Errorf(backstay.Invalid, "There is no service instance %s here, and no backup of one is kept. "+
		"\"cf service NAME --guid\" tells the GUID of a service instance.", id)
}

// Source tells whose data a new instance is to begin with by its parameters.
func (b *Broker) Source(ctx context.Context, parameters json.RawMessage) (backstay.Source, error) {
	id, err := terms.SourceOf(parameters)
	if err != nil || id == "" {
		return backstay.Source{}, err
	}
	s, err := b.findSource(ctx, id)
	return backstay.Source{InstanceID: id, Context: backstay.Context{
		OrganizationID: s.Place.Organization, SpaceID: s.Place.Space, InstanceName: s.name,
	}}, err
}

// origin finds out what a new instance of the plan begins from, or refuses it.
func (b *Broker) origin(
	ctx context.Context, p terms.Plan, o terms.Origin, r backstay.ProvisionRequest,
) (*backend.Origin, error) {
	s, err := b.findSource(ctx, o.Of)
	if err != nil {
		return nil, err
	}
	at := terms.Place{Organization: r.Context.OrganizationID, Space: r.Context.SpaceID}
	consented := s.Place == at
	if !consented && b.MayCopy != nil {
		if consented, err = b.MayCopy(ctx, s.ID, r); err != nil {
			return nil, err
		}
	}
	found := backend.Origin{Instance: s.ID, Key: s.Key, Clone: o.Kind == terms.Clone}
	if o.Kind == terms.Clone || !s.BackedUp || s.Place != at && !consented || s.Engine != p.Engine {
		return &found, p.BeginFrom(o, s.Source, at, consented) // what is kept of it does not count, or is none of theirs
	}
	found.At, found.Alone = o.At, o.Kind == terms.Snapshot
	from, err := b.reach(ctx, s.backend, found)
	if err != nil {
		return nil, err
	}
	s.Build = from.Version
	if found.Alone { // it is the backup that was found, whatever comes meanwhile
		found.Backup, found.At = from.ID, time.Time{}
	}
	return &found, p.BeginFrom(o, s.Source, at, consented)
}

// reach returns the backup that what is wished for begins with, or refuses what cannot be restored as Invalid, with
// what can be.
func (b *Broker) reach(ctx context.Context, at string, wish backend.Origin) (from backstay.Backup, err error) {
	kept, err := b.backupsOf(ctx, at, wish.Instance)
	if backstay.KindOf(err) == backstay.NotFound {
		return from, backstay.Errorf(backstay.Invalid, "There is no backup of service instance %s yet, or none is kept any "+
			"more. \"cf service NAME --params\" tells what can be restored.", wish.Instance)
	}
	if err != nil {
		return from, err
	}
	if wish.Alone && !wish.At.IsZero() {
		wish.At = wish.At.Add(-1) // before it, and not at it
	}
	archived := !kept.Latest.IsZero() && kept.Removed.IsZero()
	if archived && wish.At.After(kept.Latest) && !wish.At.After(b.Now()) {
		kept.Latest = wish.At // the backend brings the archive up to now before it restores
	}
	point, err := backup.Reach(kept, wish)
	for _, one := range kept.List {
		if one.ID == point.Backup {
			from = one
		}
	}
	return from, err
}

// returnTo finds out how an instance returns to an earlier moment of its own, or refuses it.
func (b *Broker) returnTo(
	ctx context.Context, in Instance, spec backend.Spec, o terms.Origin,
) (*backend.Origin, error) {
	found := nextReturn(spec)
	found.At = o.At
	from, err := b.reach(ctx, in.Backend, found)
	switch {
	case err != nil:
		return nil, err
	case !terms.IsOfVersion(from.Version, spec.Version):
		return nil, backstay.Errorf(backstay.Unsupported, "At that moment the service instance had version %s, and now it "+
			"has version %s: data is restored with the version that wrote it. Create a new service instance of that version, "+
			"with restore_from_point_in_time_of.", from.Version, spec.Version)
	}
	return &found, nil
}

// nextReturn is the origin of an instance that is to return to what it was, as far as its archive goes.
func nextReturn(spec backend.Spec) backend.Origin {
	o := backend.Origin{Instance: spec.Instance, Return: returnsOf(spec) + 1}
	if spec.Backup != nil {
		o.Key = spec.Backup.Key
	}
	return o
}

func returnsOf(spec backend.Spec) int64 {
	if spec.Origin == nil {
		return 0
	}
	return spec.Origin.Return
}

// restores tells whether an operation is to bring an instance's data from a restore point. Of what was accepted, the
// ledger keeps the origin to tell of it, and to count; the data is there, and must never be made from it again.
func (b *Broker) restores(in Instance, wanted backend.Spec) (bool, error) {
	if wanted.Origin == nil || in.Spec == nil {
		return wanted.Origin != nil, nil
	}
	before, err := b.openSpec(in.ID, in.Spec)
	return wanted.Origin.Return > returnsOf(before), err
}
