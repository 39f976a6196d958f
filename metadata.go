package backstay

// Metadata is what users note about a resource: labels, by which lists can be narrowed, and annotations,
// which are only kept.
type Metadata struct {
	Labels      map[string]string
	Annotations map[string]string
}

// CopyLabel is the label of an instance by which a developer of its space consents to one copy of its data in another
// space. Its value is the id of that space.
const CopyLabel = "copy-to"

// DrillLabel is the label of an instance by which its developers allow the operator to hold drills, where its value is
// DrillWanted.
const (
	DrillLabel  = "drill"
	DrillWanted = "wanted"
)

// MetadataUpdate is a change of Metadata: a key gets its value, or goes if that is nil. Other keys stay.
type MetadataUpdate struct {
	Labels      map[string]*string
	Annotations map[string]*string
}

// Empty tells whether u changes nothing.
func (u MetadataUpdate) Empty() bool { return len(u.Labels) == 0 && len(u.Annotations) == 0 }

// Applied is what u makes of a resource that has no metadata yet.
func (u MetadataUpdate) Applied() Metadata { return Metadata{given(u.Labels), given(u.Annotations)} }

func given(changes map[string]*string) map[string]string {
	all := map[string]string{}
	for key, value := range changes {
		if value != nil {
			all[key] = *value
		}
	}
	return all
}
