package backstay

import "time"

// UsageState is what became of an instance, in the words of the Cloud Foundry API.
type UsageState string

const (
	UsageCreated UsageState = "CREATED"
	UsageUpdated UsageState = "UPDATED" // it has another name, plan or price
	UsageDeleted UsageState = "DELETED"
)

// UsageEvent tells what a service instance is from that moment on, by the names and prices of the
// moment, so that it stays true whatever becomes of them. Like an audit event, it outlives what it names.
type UsageEvent struct {
	ID               UsageEventID
	State            UsageState
	InstanceID       InstanceID
	InstanceName     string
	OrganizationID   OrganizationID
	OrganizationName string
	SpaceID          SpaceID
	SpaceName        string
	PlanID           PlanID
	PlanName         string
	OfferingID       OfferingID
	OfferingName     string
	BrokerID         BrokerID
	BrokerName       string
	Costs            []Cost
	CreatedAt        time.Time // when the store recorded it
}
