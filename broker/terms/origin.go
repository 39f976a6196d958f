package terms

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

// Origin is what users want an instance's data to come from.
type Origin struct {
	Kind OriginKind
	Of   backstay.InstanceID // whose data they are; of a Return the instance's own, which is not named here
	At   time.Time           // of a Snapshot: before which it was ready; else the last moment; zero: the newest there is
}

// OriginKind is how data comes from an origin.
type OriginKind string

const (
	Snapshot OriginKind = "snapshot" // one backup, as it is
	Moment   OriginKind = "moment"   // any second, by a backup and the archive
	Clone    OriginKind = "clone"    // an instance as it is now
	Return   OriginKind = "return"   // an instance returns to an earlier second of its own
)

// Source is an instance, or what is kept of one that was deleted, that a new instance is to begin from.
type Source struct {
	ID        backstay.InstanceID
	Engine    string
	Build     string // the full version of the data
	Storage   backstay.Bytes
	Place     Place
	BackedUp  bool // there is a key of backups
	Encrypted bool // at rest
	Deleted   bool
}

// Place is where users have an instance.
type Place struct {
	Organization backstay.OrganizationID
	Space        backstay.SpaceID
}

// BeginFrom returns the build of a new instance of the plan whose data is to come from the source, or refuses it as
// Unsupported.
func (p Plan) BeginFrom(o Origin, s Source) (build string, err error) {
	refuse := func(format string, args ...any) (string, error) {
		return "", backstay.Errorf(backstay.Unsupported, format, args...)
	}
	build = p.Builds.Newest(p.Version, s.Build)
	installed := p.Builds.Newest(p.Version, "")
	missing := installed != "" && !slices.Contains(p.Builds[p.Version], build)
	switch {
	case s.Engine != p.Engine:
		return refuse("The service instance %s is of %s, and plan %s is of %s: data is restored by the engine that wrote "+
			"it. Choose a plan of %s.", s.ID, s.Engine, p.Name, p.Engine, s.Engine)
	case !IsOfVersion(s.Build, p.Version):
		return refuse("The data of service instance %s is of version %s, and plan %s has version %s: data is restored with "+
			"the version that wrote it. Choose a plan of that version; the new service instance can be changed to another plan "+
			"afterwards.", s.ID, s.Build, p.Name, p.Version)
	case missing && engine.Foundation(s.Build) != "":
		return refuse("The data of service instance %s was made by %s, and what is installed is %s: data is restored on "+
			"%s, with the same or a newer minor version. An operator can install one.",
			s.ID, s.Build, strings.Join(p.Builds[p.Version], " and "), engine.Foundation(s.Build))
	case missing:
		return refuse("The service instance %s runs version %s, and the newest that is installed is %s: data is restored "+
			"with the same or a newer minor version. An operator can install one.", s.ID, s.Build, installed)
	case p.Size.Storage < s.Storage:
		return refuse("The service instance %s has %s storage, and plan %s has %s: choose a plan with %s or more.",
			s.ID, s.Storage, p.Name, p.Size.Storage, s.Storage)
	case s.Encrypted && !p.Encrypted:
		return refuse("The service instance %s is encrypted at rest, and plan %s is not: its data stays encrypted. Choose a "+
			"plan with ENC in its name.", s.ID, p.Name)
	case o.Kind == Clone && s.Deleted:
		return refuse("The service instance %s was deleted, and only one that serves can be cloned. Its last backup can be "+
			"restored with restore_from_latest_snapshot_of.", s.ID)
	case o.Kind != Clone && !s.BackedUp:
		return refuse("The service instance %s is not backed up, as its plan says, so there is nothing to restore. "+
			"{\"clone_of\": \"%s\"} copies it as it is now.", s.ID, s.ID)
	}
	return build, nil
}

// IsOfVersion tells whether a full version is one of the version, as plans name it.
func IsOfVersion(build, version string) bool { return strings.HasPrefix(build+".", version+".") }

// origin is what a new instance is to begin from; nil: it begins empty. The error is Invalid.
func (w wishes) origin() (*Origin, error) {
	refuse := func(format string, args ...any) error { return backstay.Errorf(backstay.Invalid, format, args...) }
	var all []Origin
	for _, from := range []struct {
		kind   OriginKind
		of     *string
		before *moment
	}{{Snapshot, w.SnapshotOf, w.SnapshotBefore}, {Moment, w.MomentOf, w.MomentBefore}, {Clone, w.CloneOf, nil}} {
		if from.of == nil {
			continue
		}
		id, err := uuid.Parse(*from.of)
		if err != nil {
			return nil, refuse("Invalid guid: '%s'. \"cf service NAME --guid\" tells the one of a service instance.", *from.of)
		}
		o := Origin{Kind: from.kind, Of: backstay.InstanceID(id.String())}
		if from.before != nil {
			o.At = from.before.Time
		}
		all = append(all, o)
	}
	switch {
	case w.SnapshotBefore != nil && w.SnapshotOf == nil:
		return nil, refuse(
			"Parameter restore_from_latest_snapshot_before should be used with restore_from_latest_snapshot_of.")
	case w.MomentBefore != nil && w.MomentOf == nil:
		return nil, refuse("Parameter restore_from_point_in_time_before should be used with restore_from_point_in_time_of.")
	case len(all) > 1:
		return nil, refuse("Cannot use restore_from_latest_snapshot_of, restore_from_point_in_time_of and clone_of at the " +
			"same time: a service instance begins from one of them.")
	case len(all) == 0:
		return nil, nil
	}
	return &all[0], nil
}

// restores tells whether instances of the plan have restore points such as a parameter needs.
func (p Plan) restores(needed backstay.RestorePoints) bool {
	return needed == "" || p.RestorePoints == backstay.AnySecond || p.RestorePoints == needed
}

// unrestorable refuses, as Invalid, parameters that need restore points which instances of the plan do not have.
func (p Plan) unrestorable(given object) error {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch {
		case p.restores(platforms[name].needs):
		case p.RestorePoints == backstay.NoRestorePoints:
			return backstay.Errorf(backstay.Invalid, "This service cannot be backed up here, so there is nothing to restore "+
				"and nothing to copy from: leave %s out.", name)
		default:
			return backstay.Errorf(backstay.Invalid, "This service keeps backups, and nothing between them, so it cannot be "+
				"restored to any second: leave %s out. A new service instance can begin from a backup, with "+
				"restore_from_latest_snapshot_of and, for an older one, restore_from_latest_snapshot_before.", name)
		}
	}
	return nil
}

// moment is a time that users name, to the second. The zero moment was named as an empty text.
type moment struct{ time.Time }

// UnmarshalJSON reads what ParseMoment does, or an empty text.
func (m *moment) UnmarshalJSON(encoded []byte) error {
	var text string
	if err := json.Unmarshal(encoded, &text); err != nil {
		return err
	}
	if strings.TrimSpace(text) == "" {
		*m = moment{}
		return nil
	}
	at, err := ParseMoment(text)
	*m = moment{at}
	return err
}

// ParseMoment reads "2018-04-01 00:00:00", which is in UTC, or RFC 3339, without a part of a second: nobody restores
// that. The error is Invalid.
func ParseMoment(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	at, err := time.Parse(time.DateTime, text)
	if err != nil {
		at, err = time.Parse(time.RFC3339, text)
	}
	if err != nil || strings.ContainsAny(text, ".,") { // which Parse takes for a part of a second
		return time.Time{}, backstay.Errorf(backstay.Invalid,
			"%q should be a date and a time in UTC, to the second, such as 2018-04-01 00:00:00.", text)
	}
	return at.UTC(), nil
}

// policy is how an instance of the plan is backed up, which has no key yet if it is the first policy that it has. One
// that was backed up before stays so whatever its plan says, since what is kept of it is worth nothing without what
// follows. Nil: it is not backed up.
func (p Plan) policy(before *backend.BackupPolicy, w Windows, skipFinal *bool) *backend.BackupPolicy {
	if before == nil && p.Backups == 0 {
		return nil
	}
	policy := backend.BackupPolicy{Final: FinalDays}
	if before != nil {
		policy = *before
	}
	policy.Window = w.Backup.String()
	policy.Days = cmp.Or(p.Backups, policy.Days)
	if skipFinal != nil {
		policy.Final = FinalDays
		if *skipFinal {
			policy.Final = 0
		}
	}
	return &policy
}

// FinalDays is how long the last backup of an instance that was deleted is kept.
const FinalDays = 35
