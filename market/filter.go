package market

import (
	"encoding/json"
	"log/slog"
	"time"

	"github.com/backstay/backstay"
)

// Page is which part of a list is wanted: Number counts from 1, Size is at least 1.
type Page struct {
	Number int
	Size   int
}

// Order is how a list is sorted; a tie is broken by id. The zero Order is by creation, oldest first.
type Order struct {
	By         OrderKey
	Descending bool
}

// OrderKey is a property that lists can be sorted by.
type OrderKey string

const (
	ByCreation OrderKey = "created_at"
	ByUpdate   OrderKey = "updated_at"
	ByName     OrderKey = "name"
)

// List is one page of a result, with the size of the whole.
type List[T any] struct {
	Items []T
	Total int
}

// Match narrows a list by what every resource has. The zero Match does not narrow.
type Match struct {
	Labels  Selector // not for roles, which have none
	Created Times
	Updated Times
}

// Times narrow a list by when something happened; what is nil does not narrow.
type Times struct {
	Seconds []time.Time // in one of these seconds
	Since   *time.Time
	Before  *time.Time
}

// Filters narrow a list. A nil slice does not narrow; an empty one matches nothing. A Viewer narrows it to
// what that user's roles show.
type (
	OrganizationFilter struct {
		IDs     []backstay.OrganizationID
		Names   []string
		PlanIDs []backstay.PlanID // one of which is enabled for the organization
		Viewer  *backstay.UserID
		Match   Match
		Order   Order
		Page    Page
	}
	QuotaFilter struct {
		IDs             []backstay.QuotaID
		Names           []string
		ForSpaces       bool                      // those for spaces, or those for organizations
		OrganizationIDs []backstay.OrganizationID // whose spaces they are for, or that have them
		SpaceIDs        []backstay.SpaceID        // that have them
		Viewer          *backstay.UserID
		Match           Match // by time: they have no labels
		Order           Order
		Page            Page
	}
	SpaceFilter struct {
		IDs             []backstay.SpaceID
		Names           []string
		OrganizationIDs []backstay.OrganizationID
		Viewer          *backstay.UserID
		Match           Match
		Order           Order
		Page            Page
	}
	UserFilter struct {
		IDs              []backstay.UserID
		Usernames        []string
		PartialUsernames []string // each a part of one, in any case
		Origins          []string
		OrganizationIDs  []backstay.OrganizationID // who has a role there
		SpaceIDs         []backstay.SpaceID        // who has a role there
		Viewer           *backstay.UserID
		Match            Match
		Order            Order
		Page             Page
	}
	RoleFilter struct {
		IDs             []backstay.RoleID
		Types           []string
		UserIDs         []backstay.UserID
		OrganizationIDs []backstay.OrganizationID
		SpaceIDs        []backstay.SpaceID
		Viewer          *backstay.UserID
		Match           Match
		Order           Order
		Page            Page
	}
	AppFilter struct {
		IDs             []backstay.AppID
		Names           []string
		SpaceIDs        []backstay.SpaceID
		OrganizationIDs []backstay.OrganizationID
		Viewer          *backstay.UserID
		Match           Match
		Order           Order
		Page            Page
	}
	BrokerFilter struct {
		IDs      []backstay.BrokerID
		Names    []string
		SpaceIDs []backstay.SpaceID // whose own they are
		PlanIDs  []backstay.PlanID  // of which they have one
		Viewer   *backstay.UserID   // who develops in the space
		Match    Match
		Order    Order
		Page     Page
	}
	OfferingFilter struct {
		IDs         []backstay.OfferingID
		Names       []string
		BrokerIDs   []backstay.BrokerID
		BrokerNames []string
		Available   *bool
		Access      Access // to one of its plans
		Match       Match
		Order       Order
		Page        Page
	}
	PlanFilter struct {
		IDs            []backstay.PlanID
		Names          []string
		ServicePlanIDs []backstay.ServicePlanID
		OfferingIDs    []backstay.OfferingID
		OfferingNames  []string
		BrokerIDs      []backstay.BrokerID
		BrokerNames    []string
		Available      *bool
		Access         Access
		Match          Match
		Order          Order
		Page           Page
	}
	InstanceFilter struct {
		IDs             []backstay.InstanceID
		Names           []string
		Types           []backstay.InstanceType
		KnownIn         []backstay.SpaceID // in one of these spaces, or shared with it
		SpaceIDs        []backstay.SpaceID
		OrganizationIDs []backstay.OrganizationID
		PlanIDs         []backstay.PlanID
		PlanNames       []string
		BrokerIDs       []backstay.BrokerID // whose they are
		Viewer          *backstay.UserID
		Match           Match
		Order           Order
		Page            Page
	}
	EventFilter struct {
		IDs             []backstay.EventID
		Types           []string
		TargetIDs       []string
		NotTargetIDs    []string
		SpaceIDs        []backstay.SpaceID
		OrganizationIDs []backstay.OrganizationID
		Match           Match // by time: there are no labels
		Viewer          *backstay.UserID
		Order           Order
		Page            Page
	}
	UsageFilter struct {
		IDs         []backstay.UsageEventID
		AfterID     backstay.UsageEventID // only what was recorded later; empty does not narrow
		OfferingIDs []backstay.OfferingID
		Match       Match // likewise
		Order       Order
		Page        Page
	}
	BindingFilter struct {
		IDs           []backstay.BindingID
		Names         []string
		Types         []backstay.BindingType
		InstanceIDs   []backstay.InstanceID
		InstanceNames []string
		AppIDs        []backstay.AppID
		AppNames      []string
		AppSpaceIDs   []backstay.SpaceID
		PlanIDs       []backstay.PlanID
		PlanNames     []string
		OfferingIDs   []backstay.OfferingID
		OfferingNames []string
		Viewer        *backstay.UserID
		Match         Match
		Order         Order
		Page          Page
	}
	ShareFilter struct {
		IDs         []backstay.ShareID
		InstanceIDs []backstay.InstanceID
		SpaceIDs    []backstay.SpaceID
	}
)

// Access narrows plans to those that are public, or enabled for an organization that is all of what is
// named here: one that the viewer belongs to, one of these, one with one of these spaces. A plan that is a space's own
// is visible to those who have a role in that space, and in that space. Where nothing is named, it does not narrow.
type Access struct {
	Viewer          *backstay.UserID
	OrganizationIDs []backstay.OrganizationID
	SpaceIDs        []backstay.SpaceID
	Held            bool // and those of instances that the viewer sees
}

// Requests carry what a developer asks for, as a door decoded it.
type (
	NewRole struct {
		Type           string
		UserID         backstay.UserID // either this
		Username       string          // or this
		Origin         string          // of the username: the identity provider; empty for any
		OrganizationID backstay.OrganizationID
		SpaceID        backstay.SpaceID
	}
	NewInstance struct {
		Name       string
		SpaceID    backstay.SpaceID
		PlanID     backstay.PlanID
		Tags       []string
		Parameters []byte // a JSON object, or nil
		Metadata   backstay.MetadataUpdate
	}
	NewUserProvided struct {
		Name            string
		SpaceID         backstay.SpaceID
		Tags            []string
		Credentials     []byte // a JSON object, or nil
		SyslogDrainURL  string
		RouteServiceURL string
		Metadata        backstay.MetadataUpdate
	}
	// InstanceUpdate changes what is not nil. A managed instance has a plan and parameters, a user-provided
	// one the rest.
	InstanceUpdate struct {
		Update
		Tags               []string
		PlanID             *backstay.PlanID
		Parameters         []byte  // a JSON object of those that change
		MaintenanceVersion *string // of the plan, to upgrade to
		Credentials        []byte  // a JSON object
		SyslogDrainURL     *string
		RouteServiceURL    *string
	}
	NewBinding struct {
		Type       backstay.BindingType
		Name       string
		InstanceID backstay.InstanceID
		AppID      backstay.AppID
		Multiple   bool   // beside other bindings of the app to the instance, if there are any
		Parameters []byte // a JSON object, or nil
		Metadata   backstay.MetadataUpdate
		ExpiresAt  time.Time // zero for one that stays
	}
)

// BoundService is one binding of an app with all that VCAP_SERVICES says of it.
type BoundService struct {
	Binding     backstay.Binding
	Instance    backstay.Instance
	Plan        backstay.Plan     // none of a user-provided instance
	Offering    backstay.Offering // likewise
	Credentials backstay.Credentials

	RouteServiceURL string
	VolumeMounts    json.RawMessage // an array, or nil
}

// SealedService is a BoundService whose credentials are sealed still, and what it gives besides them.
type SealedService struct {
	BoundService
	Sealed []byte
	Extras []byte // nil: nothing
}

// LogValue is the service without its credentials.
func (s SealedService) LogValue() slog.Value { return backstay.RedactedValue(s) }

// BindingAccess is a binding, its sealed credentials (nil until they are made), and the types of the roles that a
// user has in its space and in its organization.
type BindingAccess struct {
	Binding  backstay.Binding
	BrokerID backstay.BrokerID // whose the instance is; empty for a user-provided one
	Sealed   []byte
	Roles    []string
}

// AppEnvironment is what an app finds in its environment, and where it is.
type AppEnvironment struct {
	App          backstay.App
	Space        backstay.Space
	Organization backstay.Organization
	Running      map[string]string // that administrators have set for all apps
	Staging      map[string]string // the same, while apps are staged
	Variables    map[string]string // that users have set
	Bound        []BoundService    // oldest first
}

// LogValue is the environment without what may be secret in it.
func (e AppEnvironment) LogValue() slog.Value { return backstay.RedactedValue(e) }

// LogValue is the binding without its credentials.
func (s BoundService) LogValue() slog.Value { return backstay.RedactedValue(s) }
