package market

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay"
)

// complaints are what is wrong with a catalog, one of its offerings, or one of its plans: in Cloud Controller's words,
// and all of it at once.
type complaints struct {
	heading string // of what is within something else
	own     []string
	within  []*complaints
}

func (c *complaints) add(format string, args ...any) {
	c.own = append(c.own, fmt.Sprintf(format, args...))
}

func (c *complaints) about(heading string) *complaints {
	one := &complaints{heading: heading}
	c.within = append(c.within, one)
	return one
}

func (c *complaints) empty() bool {
	return len(c.own) == 0 && !slices.ContainsFunc(c.within, func(w *complaints) bool { return !w.empty() })
}

// write writes them line by line, as Cloud Controller indents them.
func (c *complaints) write(to *strings.Builder, indent string) {
	for _, line := range c.own {
		to.WriteString(indent + line + "\n")
	}
	for _, w := range c.within {
		if w.empty() {
			continue
		}
		to.WriteString(indent + w.heading + "\n")
		w.write(to, indent+"  ")
	}
}

// complainsOf tells whether something is complained of already, so that it is not called missing besides.
func (c *complaints) complainsOf(what string) bool {
	return slices.ContainsFunc(c.own, func(said string) bool { return strings.HasPrefix(said, what+" must be ") })
}

// at is what is complained of within something, by its number; one that is new if nothing is yet.
func (c *complaints) at(i int, heading string) *complaints {
	if i < len(c.within) {
		return c.within[i]
	}
	return c.about(heading)
}

// rawTeller is a broker that shows its catalog as it was written: only then can all be told that is wrong with it.
type rawTeller interface {
	RawCatalog(ctx context.Context, call backstay.Call) (json.RawMessage, error)
	ParseCatalog(raw json.RawMessage) ([]backstay.CatalogOffering, error)
}

// soundCatalog is what a broker offers, or the refusal of what Cloud Controller would refuse.
func (m *Market) soundCatalog(
	ctx context.Context, of backstay.ServiceBroker, opened backstay.Broker, call backstay.Call,
) ([]backstay.CatalogOffering, error) {
	t, ok := opened.(rawTeller)
	if !ok {
		offerings, err := opened.Catalog(ctx)
		if err != nil {
			return nil, err
		}
		return offerings, m.checkCatalog(ctx, &complaints{}, of, offerings)
	}
	raw, err := t.RawCatalog(ctx, call)
	if err != nil {
		return nil, err
	}
	c, err := newRawCatalog(raw)
	if err != nil {
		return nil, err
	}
	all := &complaints{}
	c.complain(all)
	if raw, err = json.Marshal(c.whole); err != nil {
		return nil, fmt.Errorf("encode what is right of a catalog: %w", err)
	}
	offerings, err := t.ParseCatalog(raw)
	if err != nil {
		return nil, err
	}
	return offerings, m.checkCatalog(ctx, all, of, offerings)
}

// checkCatalog adds to what is complained of already, and refuses the catalog if that is anything.
func (m *Market) checkCatalog(
	ctx context.Context, all *complaints, of backstay.ServiceBroker, offerings []backstay.CatalogOffering,
) error {
	for i, o := range offerings {
		checkOffering(all.at(i, "Service "+o.Name), o)
	}
	if len(offerings) == 0 {
		all.add("Service broker must provide at least one service")
	}
	if count := countPlans(offerings); count > maxPlans {
		return backstay.Errorf(backstay.Invalid,
			"Service broker catalog is invalid: \nService broker may have at most %d plans, and has %d\n", maxPlans, count)
	}
	checkUnique(all, offerings)
	if err := m.checkKnown(ctx, all, of, offerings); err != nil {
		return err
	}
	if all.empty() {
		return nil
	}
	var text strings.Builder
	all.write(&text, "")
	said := strings.Map(func(r rune) rune { // which names in it are not to bring to anybody's terminal
		if unicode.IsControl(r) && r != '\n' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text.String(), ""))
	return backstay.Errorf(backstay.Invalid, "Service broker catalog is invalid: \n%s", said)
}

func countPlans(offerings []backstay.CatalogOffering) (count int) {
	for _, o := range offerings {
		count += max(1, len(o.Plans))
	}
	return count
}

func checkUnique(all *complaints, offerings []backstay.CatalogOffering) {
	if repeated(offerings, func(o backstay.CatalogOffering) string { return string(o.ID) }) {
		all.add("Service ids must be unique")
	}
	if repeated(offerings, func(o backstay.CatalogOffering) string { return o.Name }) {
		all.add("Service names must be unique within a broker")
	}
	type place struct{ plan, offering string }
	seen := map[backstay.ServicePlanID]place{}
	for _, o := range offerings {
		for _, p := range o.Plans {
			if first, ok := seen[p.ID]; ok {
				all.add("Plan ids must be unique. Unable to register plan with id '%s' (plan name '%s', service name '%s') "+
					"because it uses the same id as another plan in the catalog (plan name '%s', service name '%s')",
					p.ID, p.Name, o.Name, first.plan, first.offering)
			}
			seen[p.ID] = place{p.Name, o.Name}
		}
	}
}

// repeated tells whether two of the items have the same key, which is not empty.
func repeated[T any](items []T, key func(T) string) bool {
	seen := map[string]bool{"": false}
	for _, item := range items {
		k := key(item)
		if seen[k] {
			return true
		}
		seen[k] = k != ""
	}
	return false
}

// checkKnown complains of a catalog that calls something by the name or the id of what the broker has offered before,
// and what instances have.
func (m *Market) checkKnown(
	ctx context.Context, all *complaints, of backstay.ServiceBroker, offerings []backstay.CatalogOffering,
) error {
	known, err := m.Store.Offerings(ctx, OfferingFilter{BrokerIDs: []backstay.BrokerID{of.ID}})
	if err != nil {
		return err
	}
	plans, err := m.Store.Plans(ctx, PlanFilter{BrokerIDs: []backstay.BrokerID{of.ID}})
	if err != nil {
		return err
	}
	var taken []string
	for _, old := range known.Items {
		at := slices.IndexFunc(offerings, func(o backstay.CatalogOffering) bool { return o.Name == old.Name })
		if at < 0 || offerings[at].ID == old.ServiceID {
			continue
		}
		if held, err := m.held(ctx, plans.Items, old.ID); err != nil {
			return err
		} else if held {
			taken = append(taken, old.Name)
		}
	}
	if len(taken) > 0 {
		all.add("Service names must be unique within a broker. Services with names [\"%s\"] already exist",
			strings.Join(taken, `", "`))
	}
	checkMoved(all, of, offerings, known.Items, plans.Items)
	return nil
}

// held tells whether there are instances of an offering, whose plans are among these.
func (m *Market) held(ctx context.Context, plans []backstay.Plan, of backstay.OfferingID) (bool, error) {
	ids := []backstay.PlanID{}
	for _, p := range plans {
		if p.OfferingID == of {
			ids = append(ids, p.ID)
		}
	}
	l, err := m.Store.Instances(ctx, InstanceFilter{PlanIDs: ids, Page: Page{Number: 1, Size: 1}})
	return len(l.Items) > 0, err
}

// checkMoved complains of plans with the id of a plan that another offering of the broker has.
func checkMoved(
	all *complaints, of backstay.ServiceBroker, offerings []backstay.CatalogOffering, known []backstay.Offering,
	plans []backstay.Plan,
) {
	for _, old := range plans {
		at := slices.IndexFunc(known, func(o backstay.Offering) bool { return o.ID == old.OfferingID })
		for _, o := range offerings {
			for _, p := range o.Plans {
				if at < 0 || p.ID != old.ServicePlanID || o.ID == known[at].ServiceID || o.ID == "" {
					continue
				}
				all.add("Plan ids must be unique. Unable to register plan with id '%s' (plan name '%s', service name '%s') "+
					"because it uses the same id as an existing plan (plan name '%s', service name '%s', broker name '%s')",
					p.ID, p.Name, o.Name, old.Name, known[at].Name, of.Name)
			}
		}
	}
}

// The permissions that Cloud Foundry knows of offerings, and what is the most that may be said of one.
var knownRequires = []string{"syslog_drain", "route_forwarding", "volume_mount"}

const (
	maxPlans       = 1000 // of a broker: they are put on sale in one transaction
	maxDescription = 10_000
	maxTags        = 2048
	maxSchema      = 64 << 10
)

func checkOffering(c *complaints, o backstay.CatalogOffering) {
	required(c, "Service id", string(o.ID))
	required(c, "Service name", o.Name)
	checkLength(c, "Service name", o.Name)
	required(c, "Service description", o.Description)
	if utf8.RuneCountInString(o.Description) > maxDescription {
		c.add("Service description may not have more than 10000 characters")
	}
	if utf8.RuneCountInString(strings.Join(o.Tags, "")) > maxTags {
		c.add("Tags for the service %s must be 2048 characters or less.", o.Name)
	}
	checkPrintable(c, "Service tags", strings.Join(o.Tags, ""))
	checkPrintable(c, "Service metadata", o.DocumentationURL)
	checkBrokerMetadata(c, "Service metadata", o.BrokerMetadata)
	for _, r := range o.Requires {
		if !slices.Contains(knownRequires, r) {
			c.add(`Service "requires" field contains unsupported value "%s"`, r)
		}
	}
	if len(o.Plans) == 0 && !c.complainsOf("Service plans list") {
		c.add("At least one plan is required")
	}
	for i, p := range o.Plans {
		checkPlan(c.at(i, "Plan "+p.Name), p)
	}
	for _, id := range doubles(o.Plans, func(p backstay.CatalogPlan) string { return string(p.ID) }) {
		c.add("Plan ids must be unique. Service %s already has a plan with id '%s'", o.Name, id)
	}
	for _, name := range doubles(o.Plans, func(p backstay.CatalogPlan) string { return p.Name }) {
		c.add("Plan names must be unique within a service. Service %s already has a plan named %s", o.Name, name)
	}
}

// checkBrokerMetadata looks at what is kept and shown without being read.
func checkBrokerMetadata(c *complaints, said string, metadata json.RawMessage) {
	if len(metadata) > maxSchema {
		c.add("%s must not be larger than 64KB", said)
	}
	if bytes.Contains(bytes.ReplaceAll(metadata, []byte(`\\`), nil), []byte(`\u0000`)) { // which no event keeps
		c.add("%s must not contain control characters", said)
	}
}

// doubles are the keys that more than one of the plans has, each once.
func doubles(plans []backstay.CatalogPlan, key func(backstay.CatalogPlan) string) (all []string) {
	seen := map[string]int{}
	for _, p := range plans {
		k := key(p)
		if seen[k]++; seen[k] == 2 && k != "" {
			all = append(all, k)
		}
	}
	return all
}

// required complains of a text that is missing, and of one that no terminal should be shown.
func required(c *complaints, what, value string) {
	checkPrintable(c, what, value)
	if strings.TrimSpace(value) == "" && !c.complainsOf(what) {
		c.add("%s is required", what)
	}
}

func checkLength(c *complaints, what, name string) {
	if utf8.RuneCountInString(name) > maxName {
		c.add("%s may not have more than %d characters", what, maxName)
	}
}

func checkPrintable(c *complaints, what, value string) {
	if !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t'
	}) {
		c.add("%s must not contain control characters", what)
	}
}

// semantic is a version as semver.org has it.
var semantic = regexp.MustCompile(`^(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?` +
	`(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)

func checkPlan(c *complaints, p backstay.CatalogPlan) {
	required(c, "Plan id", string(p.ID))
	required(c, "Plan name", p.Name)
	checkLength(c, "Plan name", p.Name)
	required(c, "Plan description", p.Description)
	if v := p.MaintenanceInfo; v != nil && !semantic.MatchString(v.Version) {
		c.add("Maintenance info")
		c.add(`  Maintenance info version must be a Semantic Version, but has value "%s"`, v.Version)
	}
	checkBrokerMetadata(c, "Plan metadata", p.BrokerMetadata)
	schemas := c.at(0, "Schemas")
	checkSchema(schemas, "service_instance.create.parameters", p.Schemas.CreateInstance)
	checkSchema(schemas, "service_instance.update.parameters", p.Schemas.UpdateInstance)
	checkSchema(schemas, "service_binding.create.parameters", p.Schemas.CreateBinding)
}

// checkSchema complains of what is no schema of parameters: those are an object, and nobody goes and fetches what a
// schema refers to.
func checkSchema(c *complaints, where string, raw json.RawMessage) {
	if len(raw) == 0 || string(raw) == "null" {
		return
	}
	var schema map[string]any
	if json.Unmarshal(raw, &schema) != nil || schema == nil {
		c.add("Schemas %s must be a hash, but has value %s", where, clip(string(bytes.TrimSpace(raw))))
		return
	}
	if len(schema) == 0 {
		return
	}
	switch {
	case len(raw) > maxSchema:
		c.add("Schema %s is not valid. Must not be larger than 64KB", where)
	case schema["type"] != "object":
		c.add(`Schema %s is not valid. must have field "type", with value "object"`, where)
	}
	if address := outside(schema); address != "" {
		c.add("Schema %s is not valid. No external references are allowed: %s", where, clip(address))
	}
}

// outside is what a schema refers to that is not within itself; empty if there is nothing.
func outside(value any) string {
	switch value := value.(type) {
	case map[string]any:
		if ref, ok := value["$ref"].(string); ok && !strings.HasPrefix(ref, "#") {
			return ref
		}
		for _, v := range value {
			if found := outside(v); found != "" {
				return found
			}
		}
	case []any:
		for _, v := range value {
			if found := outside(v); found != "" {
				return found
			}
		}
	}
	return ""
}
