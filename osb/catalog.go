package osb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay"
)

// The catalog as both ends have it. The library of the handler has shapes of its own, which cannot leave out one of the
// three schemas, and cannot keep a schema as its broker wrote it.

type catalogBody struct {
	Services []offeringBody `json:"services"`
}

type offeringBody struct {
	ID                   backstay.ServiceID `json:"id"`
	Name                 string             `json:"name"`
	Description          string             `json:"description"`
	Tags                 []string           `json:"tags,omitempty"`
	Requires             []string           `json:"requires,omitempty"`
	Bindable             bool               `json:"bindable"`
	InstancesRetrievable bool               `json:"instances_retrievable,omitempty"`
	BindingsRetrievable  bool               `json:"bindings_retrievable,omitempty"`
	AllowContextUpdates  bool               `json:"allow_context_updates,omitempty"`
	PlanUpdateable       bool               `json:"plan_updateable,omitempty"`
	Metadata             json.RawMessage    `json:"metadata,omitempty"` // see offeringMetadata
	Plans                []planBody         `json:"plans"`
}

// offeringMetadata is what both ends know of the metadata of an offering, and planMetadata of that of a plan. Brokers
// have more in it, in words of their own.
type offeringMetadata struct {
	DocumentationURL string `json:"documentationUrl,omitempty"`
	Shareable        bool   `json:"shareable,omitempty"`
}

type planBody struct {
	ID                     backstay.ServicePlanID `json:"id"`
	Name                   string                 `json:"name"`
	Description            string                 `json:"description"`
	Free                   *bool                  `json:"free,omitempty"` // nil: it is
	Bindable               *bool                  `json:"bindable,omitempty"`
	PlanUpdateable         *bool                  `json:"plan_updateable,omitempty"`
	Metadata               json.RawMessage        `json:"metadata,omitempty"` // see planMetadata
	Schemas                *schemasBody           `json:"schemas,omitempty"`
	MaximumPollingDuration int64                  `json:"maximum_polling_duration,omitempty"` // in seconds
	MaintenanceInfo        *maintenanceBody       `json:"maintenance_info,omitempty"`
}

type planMetadata struct {
	Costs []costBody `json:"costs,omitempty"`
}

type costBody struct {
	Amount map[string]float64 `json:"amount"` // by the currency, in lower case
	Unit   string             `json:"unit"`
}

type schemasBody struct {
	Instance *actionsBody `json:"service_instance,omitempty"`
	Binding  *actionsBody `json:"service_binding,omitempty"`
}

type actionsBody struct {
	Create *schemaBody `json:"create,omitempty"`
	Update *schemaBody `json:"update,omitempty"`
}

type schemaBody struct {
	Parameters json.RawMessage `json:"parameters,omitempty"`
}

// parseCatalog reads what a broker offers. Whether that is sound is for whoever sells it to say.
func parseCatalog(raw []byte) ([]backstay.CatalogOffering, error) {
	var b catalogBody
	if err := json.Unmarshal(raw, &b); err != nil {
		return nil, fmt.Errorf("decode catalog: %w", err)
	}
	all := []backstay.CatalogOffering{}
	for _, s := range b.Services {
		all = append(all, s.offering())
	}
	return all, nil
}

// offering is what is offered. Its plans begin hidden, as in Cloud Foundry: who sells what somebody else offers says to
// whom.
func (b offeringBody) offering() backstay.CatalogOffering {
	o := backstay.CatalogOffering{
		ID: b.ID, Name: b.Name, Description: b.Description, Tags: b.Tags, Requires: b.Requires, Bindable: b.Bindable,
		InstancesRetrievable: b.InstancesRetrievable, BindingsRetrievable: b.BindingsRetrievable,
		AllowContextUpdates: b.AllowContextUpdates, PlanUpdateable: b.PlanUpdateable, Private: true,
		BrokerMetadata: metadataOf(b.Metadata),
	}
	var known offeringMetadata
	if json.Unmarshal(b.Metadata, &known) == nil {
		o.DocumentationURL, o.Shareable = known.DocumentationURL, known.Shareable
	}
	for _, p := range b.Plans {
		o.Plans = append(o.Plans, p.plan())
	}
	return o
}

// metadataOf is metadata as a catalog has it, or nil where there is none.
func metadataOf(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

func (b planBody) plan() backstay.CatalogPlan {
	p := backstay.CatalogPlan{
		ID: b.ID, Name: b.Name, Description: b.Description, Free: b.Free == nil || *b.Free, Bindable: b.Bindable,
		PlanUpdateable: b.PlanUpdateable, MaintenanceInfo: b.MaintenanceInfo.info(), Schemas: b.Schemas.schemas(),
		BrokerMetadata: metadataOf(b.Metadata),
	}
	if longest := int64(maxPolling / time.Second); b.MaximumPollingDuration > 0 {
		p.MaximumPollingDuration = time.Duration(min(b.MaximumPollingDuration, longest)) * time.Second
	}
	var known planMetadata
	if json.Unmarshal(b.Metadata, &known) != nil { // prices that are written in a way of their own are shown as they are
		return p
	}
	for _, c := range known.Costs {
		for _, currency := range slices.Sorted(maps.Keys(c.Amount)) {
			p.Costs = append(p.Costs, backstay.Cost{
				Amount: c.Amount[currency], Currency: strings.ToUpper(currency), Unit: c.Unit,
			})
		}
	}
	return p
}

// maxPolling is the longest that a catalog may have a platform wait for an operation.
const maxPolling = 365 * 24 * time.Hour

func (b *schemasBody) schemas() (s backstay.Schemas) {
	if b == nil {
		return s
	}
	if b.Instance != nil {
		s.CreateInstance, s.UpdateInstance = b.Instance.Create.schema(), b.Instance.Update.schema()
	}
	if b.Binding != nil {
		s.CreateBinding = b.Binding.Create.schema()
	}
	return s
}

// schema is nil for one that says nothing.
func (b *schemaBody) schema() json.RawMessage {
	if b == nil || string(b.Parameters) == "null" {
		return nil
	}
	return b.Parameters
}

func catalogOf(offerings []backstay.CatalogOffering) catalogBody {
	b := catalogBody{Services: []offeringBody{}}
	for _, o := range offerings {
		s := offeringBody{
			ID: o.ID, Name: o.Name, Description: o.Description, Tags: o.Tags, Requires: o.Requires, Bindable: o.Bindable,
			InstancesRetrievable: o.InstancesRetrievable, BindingsRetrievable: o.BindingsRetrievable,
			AllowContextUpdates: o.AllowContextUpdates, PlanUpdateable: o.PlanUpdateable,
			Metadata: o.BrokerMetadata, Plans: []planBody{},
		}
		if s.Metadata == nil {
			s.Metadata = encode(offeringMetadata{DocumentationURL: o.DocumentationURL, Shareable: o.Shareable})
		}
		for _, p := range o.Plans {
			s.Plans = append(s.Plans, planOf(p))
		}
		b.Services = append(b.Services, s)
	}
	return b
}

// encode is nil for a price that is no number.
func encode(known any) json.RawMessage {
	raw, err := json.Marshal(known)
	if err != nil {
		return nil
	}
	return raw
}

func planOf(p backstay.CatalogPlan) planBody {
	b := planBody{
		ID: p.ID, Name: p.Name, Description: p.Description, Free: &p.Free, Bindable: p.Bindable,
		PlanUpdateable: p.PlanUpdateable, Schemas: schemasOf(p.Schemas), MaintenanceInfo: maintenanceOf(p.MaintenanceInfo),
		MaximumPollingDuration: int64(p.MaximumPollingDuration / time.Second), Metadata: p.BrokerMetadata,
	}
	if b.Metadata != nil || len(p.Costs) == 0 {
		return b
	}
	var known planMetadata
	for _, c := range p.Costs {
		known.Costs = append(known.Costs, costBody{
			Amount: map[string]float64{strings.ToLower(c.Currency): c.Amount}, Unit: c.Unit,
		})
	}
	b.Metadata = encode(known)
	return b
}

func schemasOf(s backstay.Schemas) *schemasBody {
	schema := func(parameters json.RawMessage) *schemaBody {
		if parameters == nil {
			return nil
		}
		return &schemaBody{Parameters: marked(parameters)}
	}
	b := &schemasBody{}
	if s.CreateInstance != nil || s.UpdateInstance != nil {
		b.Instance = &actionsBody{Create: schema(s.CreateInstance), Update: schema(s.UpdateInstance)}
	}
	if s.CreateBinding != nil {
		b.Binding = &actionsBody{Create: schema(s.CreateBinding)}
	}
	if b.Instance == nil && b.Binding == nil {
		return nil
	}
	return b
}

// marked is a schema that says by which draft it is to be read, as platforms want of each (OSB 2.17, "Schema
// Parameters"). One that does not say is read by the sixth: it has what ours are written with, and platforms know it.
func marked(schema json.RawMessage) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(schema, &object) != nil || object == nil || object["$schema"] != nil {
		return schema
	}
	mark := `{"$schema":"http://json-schema.org/draft-06/schema#"`
	if len(object) > 0 {
		mark += ","
	}
	return append(json.RawMessage(mark), bytes.TrimSpace(schema)[1:]...)
}
