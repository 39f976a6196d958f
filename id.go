package backstay

// Identifiers are lower-case UUIDs in their canonical 36-character form, but a client's UserID is the
// name that an operator gave it. Each noun has a type of
// its own, so that arguments cannot be swapped. ServiceID and ServicePlanID are a broker's own, and any text
// that is not empty.
type (
	OrganizationID string
	SpaceID        string
	UserID         string
	RoleID         string
	AppID          string
	BrokerID       string
	ServiceID      string
	ServicePlanID  string
	OfferingID     string
	PlanID         string
	InstanceID     string
	BindingID      string
	ShareID        string
	JobID          string
	EventID        string
	UsageEventID   string
	QuotaID        string
)
