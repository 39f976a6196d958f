package broker

import (
	"cmp"
	"context"
	"encoding/json"

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
	sealed  []byte // its Spec, or, of one that was deleted, the key of its backups
	Key     backstay.Secret
}

// findSource finds an instance that has served, or what is kept of one that was deleted. Of an instance, only what
// openSource reads tells more than where it is.
func (b *Broker) findSource(ctx context.Context, id backstay.InstanceID) (s source, err error) {
	in, err := b.Store.Instance(ctx, id)
	if backstay.KindOf(err) == backstay.NotFound || err == nil && in.Spec == nil {
		return b.findDeleted(ctx, id)
	}
	return source{name: in.Name, backend: in.Backend, sealed: in.Spec, Source: terms.Source{
		ID: id, Build: in.Build, Place: terms.Place{Organization: in.OrganizationID, Space: in.SpaceID},
	}}, err
}

func (b *Broker) findDeleted(ctx context.Context, id backstay.InstanceID) (s source, err error) {
	a, err := b.Store.Archive(ctx, id)
	return source{name: a.Name, backend: a.Backend, sealed: a.Key, Source: terms.Source{
		ID: id, Engine: a.Engine, Build: a.Version, Storage: a.Storage, BackedUp: true, Deleted: true,
		Encrypted: a.Encrypted,
		Place:     terms.Place{Organization: a.OrganizationID, Space: a.SpaceID},
	}}, err
}

// openSource opens what is sealed of a source.
func (b *Broker) openSource(s source) (source, error) {
	if s.Deleted {
		key, err := b.open(s.sealed, archiveKeyContext(s.ID))
		s.Key = backstay.Secret(key)
		return s, err
	}
	spec, err := b.openSpec(s.ID, s.sealed)
	if err != nil {
		return s, err
	}
	s.Engine, s.Build, s.Storage = spec.Engine, cmp.Or(s.Build, spec.Build, spec.Version), spec.Size.Storage
	s.Encrypted = spec.Volume.Encrypted
	if spec.Backup != nil {
		s.BackedUp, s.Key = true, spec.Backup.Key
	}
	return s, nil
}

// Source tells whose data a new instance is to begin with by its parameters.
func (b *Broker) Source(ctx context.Context, parameters json.RawMessage) (backstay.Source, error) {
	id, err := terms.SourceOf(parameters)
	if err != nil || id == "" {
		return backstay.Source{}, err
	}
	s, err := b.findSource(ctx, id)
	err = absentIsFine(err)
	return backstay.Source{InstanceID: id, Context: backstay.Context{
		OrganizationID: s.Place.Organization, SpaceID: s.Place.Space, InstanceName: s.name,
	}}, err
}

// sourceFor returns the source that a new instance may begin from: one of its own space, or the one to whose copy
// somebody has consented. What is elsewhere is refused like what never was, and looked for as long, so that who guesses
// a GUID learns nothing.
func (b *Broker) sourceFor(ctx context.Context, id backstay.InstanceID, r backstay.ProvisionRequest) (source, error) {
	at := terms.Place{Organization: r.Context.OrganizationID, Space: r.Context.SpaceID}
	s, err := b.findSource(ctx, id)
	absent := backstay.KindOf(err) == backstay.NotFound
	if err != nil && !absent {
		return s, err
	}
	if absent || s.Place != at && r.CopyOf != id {
		return s, notHere(id, at.Space)
	}
	return b.openSource(s)
}

// notHere refuses a source with all that could be meant, and all ways out.
func notHere(id backstay.InstanceID, space backstay.SpaceID) error {
	return backstay.Errorf(backstay.Invalid, "There is no service instance %s in this space, and no backup is kept of "+
		"one that was deleted from it: \"cf service NAME --guid\" tells the GUID of a service instance. Data comes from "+
		"another space with the consent of a developer of that one to one copy, by \"backstay copy\" or by: cf set-label "+
		"service-instance NAME %s=%s. What was deleted there, an operator brings here: backstay restore %[1]s "+
		"--to ORG/SPACE --as NAME", id, backstay.CopyLabel, space)
}

// origin finds out what a new instance of the plan begins from, and with which build, or refuses it.
func (b *Broker) origin(
	ctx context.Context, bought plan, o terms.Origin, r backstay.ProvisionRequest,
) (from *backend.Origin, build string, err error) {
	s, err := b.sourceFor(ctx, o.Of, r)
	if err != nil {
		return nil, "", err
	}
	if s.backend != bought.backend {
		return nil, "", backstay.Errorf(backstay.Unsupported, "What is kept of service instance %s is in %q, and can be "+
			"restored and cloned only there: service plan '%s' is of %q.", s.ID, s.backend, bought.Name, bought.backend)
	}
	p := bought.terms()
	found := backend.Origin{Instance: s.ID, Key: s.Key, Clone: o.Kind == terms.Clone}
	if o.Kind != terms.Clone && s.BackedUp && s.Engine == p.Engine { // else what is kept of it does not count
		found.At, found.Alone = o.At, o.Kind == terms.Snapshot
		first, newest, err := b.reach(ctx, s.backend, found)
		if err != nil {
			return nil, "", err
		}
		s.Build = first.Version
		if found.Alone { // it is the newest one of now, whatever comes meanwhile, or what is nearest before that
			found.At = newest.Ended
		}
	}
	build, err = p.BeginFrom(o, s.Source)
	return &found, build, err
}

// reach returns the backup that what is wished for begins with, and the one that it would begin with if none were
// damaged, or refuses what cannot be restored as Invalid, with what can be.
func (b *Broker) reach(
	ctx context.Context, at string, wish backend.Origin,
) (from, newest backstay.Backup, err error) {
	kept, err := b.backupsOf(ctx, at, wish.Instance)
	if backstay.KindOf(err) == backstay.NotFound {
		return from, newest, backstay.Errorf(backstay.Invalid, "There is no backup of service instance %s yet, or none is "+
			"kept any more. \"cf service NAME --params\" tells what can be restored.", wish.Instance)
	}
	if err != nil {
		return from, newest, err
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
		if (wish.At.IsZero() || !one.Ended.After(wish.At)) && !one.Ended.Before(newest.Ended) {
			newest = one
		}
	}
	return from, newest, err
}

// returnTo finds out how an instance returns to an earlier moment of its own, or refuses it.
func (b *Broker) returnTo(
	ctx context.Context, in Instance, spec backend.Spec, o terms.Origin,
) (*backend.Origin, error) {
	found := nextReturn(spec)
	found.At = o.At
	from, _, err := b.reach(ctx, in.Backend, found)
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
