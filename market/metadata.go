package market

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/backstay/backstay"
)

// Cloud Foundry's limits for metadata, in characters and in entries of one resource.
const (
	maxMetadataName   = 63 // of a key, without its prefix, and of a label's value
	maxMetadataPrefix = 253
	maxAnnotation     = 5000
	maxLabels         = 50
	maxAnnotations    = 200
)

// Update changes what all resources have that have a name.
type Update struct {
	Name     *string // nil: unchanged
	Metadata backstay.MetadataUpdate
}

func (u Update) check() error {
	if u.Name != nil {
		if err := checkName(*u.Name); err != nil {
			return err
		}
	}
	return checkMetadata(u.Metadata)
}

func (u Update) details() details {
	d := metadataDetails(u.Metadata)
	if u.Name != nil {
		d["name"] = *u.Name
	}
	return d
}

func metadataDetails(u backstay.MetadataUpdate) details {
	d, m := details{}, details{}
	if u.Labels != nil {
		m["labels"] = u.Labels
	}
	if u.Annotations != nil {
		m["annotations"] = u.Annotations
	}
	if len(m) > 0 {
		d["metadata"] = m
	}
	return d
}

// checkMetadata refuses keys and values that Cloud Foundry does not take, and more of them than a resource may
// have. The store checks the number again, because it knows those that the resource has already.
func checkMetadata(u backstay.MetadataUpdate) error {
	var wrong []string
	for _, key := range slices.Sorted(maps.Keys(u.Labels)) {
		if said := wrongKey(key); said != "" {
			wrong = append(wrong, "Metadata label key error: "+said)
		}
		if value := u.Labels[key]; value != nil {
			if said := wrongValue(*value); said != "" {
				wrong = append(wrong, "Metadata label value error: "+said)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(u.Annotations)) {
		if said := wrongKey(key); said != "" {
			wrong = append(wrong, "Metadata annotation key error: "+said)
		}
		if value := u.Annotations[key]; value != nil && utf8.RuneCountInString(*value) > maxAnnotation {
			wrong = append(wrong, fmt.Sprintf("Metadata annotation value error: '%s' is greater than %d characters",
				beginning(*value), maxAnnotation))
		}
	}
	if wrong != nil {
		return backstay.Errorf(backstay.Invalid, "%s", strings.Join(wrong, ", "))
	}
	now := u.Applied()
	return CheckAmount(u, len(now.Labels), len(now.Annotations))
}

// CheckAmount refuses u if with it a resource has more labels or annotations than it may.
func CheckAmount(u backstay.MetadataUpdate, labels, annotations int) error {
	if labels > maxLabels {
		return backstay.Errorf(backstay.Invalid,
			"Failed to add %d labels because it would exceed maximum of %d", len(u.Labels), maxLabels)
	}
	if annotations > maxAnnotations {
		return backstay.Errorf(backstay.Invalid,
			"Failed to add %d annotations because it would exceed maximum of %d", len(u.Annotations), maxAnnotations)
	}
	return nil
}

// dnsName is a domain of at least two parts.
var dnsName = regexp.MustCompile(`^(` + dnsLabel + `\.)+` + dnsLabel + `$`)

const dnsLabel = `[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?`

// reserved is a prefix that Cloud Foundry keeps for itself.
const reserved = "cloudfoundry.org"

// wrongKey says what is wrong with a key ("name", or "prefix/name"), in Cloud Foundry's words.
func wrongKey(key string) string {
	if strings.TrimSpace(key) == "" {
		return "key cannot be empty string"
	}
	prefix, name, prefixed := strings.Cut(key, "/")
	if !prefixed {
		prefix, name = "", key
	}
	switch {
	case strings.Contains(name, "/"):
		return "key has more than one '/'"
	case prefixed && utf8.RuneCountInString(prefix) > maxMetadataPrefix:
		return "prefix '" + beginning(prefix) + "' is greater than 253 characters"
	case prefixed && !dnsName.MatchString(prefix):
		return "prefix '" + printable(prefix) + "' must be in valid dns format"
	case strings.EqualFold(prefix, reserved):
		return "prefix '" + reserved + "' is reserved"
	case name == "":
		return "key cannot be empty string"
	}
	return wrongValue(name)
}

// wrongValue says what is wrong with a label's value, or with the name in a key.
func wrongValue(value string) string {
	switch {
	case value == "":
		return ""
	case utf8.RuneCountInString(value) > maxMetadataName:
		return "'" + beginning(value) + "' is greater than 63 characters"
	case strings.ContainsFunc(value, func(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("-_.", r) }):
		return "'" + printable(value) + "' contains invalid characters"
	case !alphanumeric(rune(value[0])) || !alphanumeric(rune(value[len(value)-1])):
		return "'" + value + "' starts or ends with invalid characters"
	}
	return ""
}

func alphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// beginning returns as much of a text that is too long as is needed to recognize it.
func beginning(text string) string { return printable(string([]rune(text)[:8])) + "..." }

func printable(text string) string { return strings.ToValidUTF8(text, "�") }

// MetadataOf is a type of resource whose metadata can change alone, by the type's name in sentences.
type MetadataOf string

const (
	OfInstance MetadataOf = "Service instance"
	OfBinding  MetadataOf = "Service credential binding"
	OfBroker   MetadataOf = "Service broker"
	OfOffering MetadataOf = "Service offering"
	OfPlan     MetadataOf = "Service plan"
	OfUser     MetadataOf = "User"
)

// MetadataStore changes the metadata of resources of which nothing else changes in the same request.
type MetadataStore interface {
	// UpdateMetadata is Invalid if the resource would have too many labels or annotations, and NotFound
	// if it is absent.
	UpdateMetadata(ctx context.Context, of MetadataOf, id string, u backstay.MetadataUpdate, e backstay.Event) error
}

// UpdateBindingMetadata changes a binding's metadata.
func (m *Market) UpdateBindingMetadata(
	ctx context.Context, actor backstay.Actor, id backstay.BindingID, u backstay.MetadataUpdate,
) (backstay.Binding, error) {
	b, at, err := m.bindingFor(ctx, actor, id, SpaceDevelopers)
	if err != nil {
		return b, err
	}
	if op := b.LastOperation; op.State == backstay.InProgress && op.Type == backstay.Delete {
		return b, backstay.Errorf(backstay.Invalid, "The service binding is getting deleted.")
	}
	if err := m.updateMetadata(
		ctx, OfBinding, string(id), u, bindingEvent(actor, "update", b, at, request(metadataDetails(u))),
	); err != nil {
		return b, err
	}
	return m.Binding(ctx, actor, id)
}

// UpdateOfferingMetadata changes an offering's metadata.
func (m *Market) UpdateOfferingMetadata(
	ctx context.Context, actor backstay.Actor, id backstay.OfferingID, u backstay.MetadataUpdate,
) (backstay.Offering, error) {
	o, err := m.Offering(ctx, actor, id)
	if err != nil {
		return o, err
	}
	about := backstay.Target{ID: string(id), Type: "service", Name: o.Name}
	if err := m.updateGlobalMetadata(ctx, actor, OfOffering, about, u); err != nil {
		return o, err
	}
	return m.Offering(ctx, actor, id)
}

// UpdatePlanMetadata changes a plan's metadata.
func (m *Market) UpdatePlanMetadata(
	ctx context.Context, actor backstay.Actor, id backstay.PlanID, u backstay.MetadataUpdate,
) (backstay.Plan, error) {
	p, err := m.Plan(ctx, actor, id)
	if err != nil {
		return p, err
	}
	about := backstay.Target{ID: string(id), Type: "service_plan", Name: p.Name}
	if err := m.updateGlobalMetadata(ctx, actor, OfPlan, about, u); err != nil {
		return p, err
	}
	return m.Plan(ctx, actor, id)
}

// UpdateUserMetadata changes a user's metadata.
func (m *Market) UpdateUserMetadata(
	ctx context.Context, actor backstay.Actor, id backstay.UserID, u backstay.MetadataUpdate,
) (backstay.User, error) {
	user, err := m.User(ctx, actor, id)
	if err != nil {
		return user, err
	}
	about := backstay.Target{ID: string(id), Type: "user", Name: user.Username}
	if err := m.updateGlobalMetadata(ctx, actor, OfUser, about, u); err != nil {
		return user, err
	}
	return m.User(ctx, actor, id)
}

// updateGlobalMetadata changes the metadata of a resource that is in no organization. Only administrators may.
func (m *Market) updateGlobalMetadata(
	ctx context.Context, actor backstay.Actor, of MetadataOf, about backstay.Target, u backstay.MetadataUpdate,
) error {
	if err := m.permit(ctx, actor, place{}, Administrators); err != nil {
		return err
	}
	return m.updateMetadata(
		ctx, of, about.ID, u, newEvent(actor, about.Type+".update", about, place{}, request(metadataDetails(u))),
	)
}

func (m *Market) updateMetadata(
	ctx context.Context, of MetadataOf, id string, u backstay.MetadataUpdate, e backstay.Event,
) error {
	if err := checkMetadata(u); err != nil {
		return err
	}
	return m.Store.UpdateMetadata(ctx, of, id, u, e)
}
