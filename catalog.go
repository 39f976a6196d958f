package backstay

import (
	"encoding/json"
	"time"
)

// Offering is a service offering of a broker's catalog (OSB 2.17, "Service Offering Object").
type Offering struct {
	ID               OfferingID
	Name             string
	Description      string
	DocumentationURL string
	Tags             []string
	Shareable        bool
	Available        bool // false: withdrawn from sale; its instances live on
	Private          bool // plans begin hidden, until somebody opens them; known only to the broker
	Plans            []Plan
	Metadata         Metadata  // what users of the market note; none in a broker's catalog
	CreatedAt        time.Time // when the market first saw it; zero in a broker's catalog
	UpdatedAt        time.Time
}

// ServiceBroker is a broker as the market knows it: whom offerings are from.
type ServiceBroker struct {
	ID        BrokerID
	Name      string
	Metadata  Metadata
	CreatedAt time.Time
	UpdatedAt time.Time
}

// OwnBroker is the broker of this house.
const OwnBroker BrokerID = "2f0b5b39-6a0e-4c3d-9f57-8c2c1f3b7a10"

// OwnBrokerName is what users call it.
const OwnBrokerName = "backstay"

// Plan is what can be bought of an offering: at what size, with which promises (OSB 2.17,
// "Service Plan Object").
type Plan struct {
	ID          PlanID
	OfferingID  OfferingID
	Name        string
	Description string
	Free        bool
	Available   bool // false: withdrawn from sale; instances that have it live on
	Visibility  Visibility
	Costs       []Cost
	Schemas     Schemas
	Metadata    Metadata  // what users of the market note; none in a broker's catalog
	CreatedAt   time.Time // when the market first saw it; zero in a broker's catalog
	UpdatedAt   time.Time
}

// Visibility is who may see and use a plan. A broker's catalog says nothing of it.
type Visibility string

const (
	PublicPlan       Visibility = "public"       // everybody
	OrganizationPlan Visibility = "organization" // the members of some organizations, there
	AdminPlan        Visibility = "admin"        // nobody; administrators see it
)

// Cost is a price of a plan, in major units of the currency (ISO 4217, upper case) per Unit ("MONTHLY").
type Cost struct {
	Amount   float64
	Currency string
	Unit     string
}

// Schemas are the JSON Schemas that a plan's parameters are validated against; nil accepts none.
type Schemas struct {
	CreateInstance json.RawMessage
	CreateBinding  json.RawMessage
}
