package market

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
)

// What of an offering and of a plan must be of which type, by the words that Cloud Controller has for it.
var (
	offeringTexts = []field{{"id", "Service id"}, {"name", "Service name"}, {"description", "Service description"}}
	offeringFlags = []field{
		{"bindable", `Service "bindable" field`}, {"plan_updateable", `Service "plan_updateable" field`},
		{"bindings_retrievable", `Service "bindings_retrievable" field`},
		{"instances_retrievable", `Service "instances_retrievable" field`},
		{"allow_context_updates", `Service "allow_context_updates" field`},
	}
	offeringLists = []field{{"tags", "Service tags"}, {"requires", `Service "requires" field`}}
	planTexts     = []field{{"id", "Plan id"}, {"name", "Plan name"}, {"description", "Plan description"}}
	planFlags     = []field{
		{"free", "Plan free"}, {"bindable", "Plan bindable"}, {"plan_updateable", "Plan updateable"},
	}
)

type field struct{ name, said string }

// rawCatalog is a catalog as its broker wrote it: objects whose fields may be of any type. What is of a wrong one is
// complained of, and taken out, so that the rest can be looked at too.
type rawCatalog struct {
	whole    map[string]any
	services []any
}

func newRawCatalog(raw json.RawMessage) (c rawCatalog, err error) {
	if err := json.Unmarshal(raw, &c.whole); err != nil {
		return c, backstay.Wrapf(err, backstay.Unavailable, "The service broker returned an invalid response: %v", err)
	}
	services, _ := c.whole["services"].([]any)
	for _, s := range services {
		if object, ok := s.(map[string]any); ok {
			c.services = append(c.services, object)
		}
	}
	c.whole = map[string]any{"services": c.services}
	return c, nil
}

// complain complains of what is of a wrong type in each offering, in the order of the catalog, and takes it out.
func (c rawCatalog) complain(all *complaints) {
	for _, s := range c.services {
		service := s.(map[string]any)
		about := all.about("Service " + text(service["name"]))
		wantTexts(about, service, offeringTexts)
		wantFlags(about, service, offeringFlags)
		if service["bindable"] == nil && !about.complainsOf(offeringFlags[0].said) {
			about.add("%s is required", offeringFlags[0].said)
		}
		for _, f := range offeringLists {
			wantType(about, service, f, "an array of strings", isTexts)
		}
		if wantType(about, service, field{"metadata", "Service metadata"}, "a hash", isObject) {
			wantFlags(about, service["metadata"].(map[string]any), []field{{"shareable", "Service metadata shareable"}})
			wantTexts(nil, service["metadata"].(map[string]any), []field{{"documentationUrl", ""}})
		}
		dashboardClient(about, service)
		if wantType(about, service, field{"plans", "Service plans list"}, "an array of hashes", isObjects) {
			for _, p := range service["plans"].([]any) {
				complainOfPlan(about, p.(map[string]any))
			}
		}
	}
}

func dashboardClient(about *complaints, service map[string]any) {
	f := field{"dashboard_client", "Service dashboard client attributes"}
	if !wantType(about, service, f, "a hash", isObject) {
		return
	}
	client := service["dashboard_client"].(map[string]any)
	for _, name := range []string{"id", "secret", "redirect_uri"} {
		said := "Service dashboard client " + name
		wantTexts(about, client, []field{{name, said}})
		if !about.complainsOf(said) {
			required(about, said, text(client[name]))
		}
	}
}

func complainOfPlan(service *complaints, plan map[string]any) {
	about := service.about("Plan " + text(plan["name"]))
	wantTexts(about, plan, planTexts)
	wantFlags(about, plan, planFlags)
	wantType(about, plan, field{"metadata", "Plan metadata"}, "a hash", isObject)
	wantType(about, plan, field{"maximum_polling_duration", "Maximum polling duration"}, "an integer", isInteger)
	if wantType(about, plan, field{"maintenance_info", "Maintenance info"}, "a hash", isObject) {
		wantTexts(about, plan["maintenance_info"].(map[string]any), []field{
			{"version", "Maintenance info version"}, {"description", "Maintenance info description"},
		})
	}
	schemas(about, plan)
}

// schemas complains of what is no tree of schemas.
func schemas(about *complaints, plan map[string]any) {
	if !wantType(about, plan, field{"schemas", "Plan schemas"}, "a hash", isObject) {
		return
	}
	within := about.about("Schemas")
	tree := plan["schemas"].(map[string]any)
	for _, of := range []struct {
		name    string
		actions []string
	}{{"service_instance", []string{"create", "update"}}, {"service_binding", []string{"create"}}} {
		if !wantType(within, tree, field{of.name, "Schemas " + of.name}, "a hash", isObject) {
			continue
		}
		branch := tree[of.name].(map[string]any)
		for _, action := range of.actions {
			said := "Schemas " + of.name + "." + action
			if wantType(within, branch, field{action, said}, "a hash", isObject) {
				leaf := branch[action].(map[string]any)
				wantType(within, leaf, field{"parameters", said + ".parameters"}, "a hash", isObject)
			}
		}
	}
}

func wantTexts(about *complaints, of map[string]any, fields []field) {
	for _, f := range fields {
		wantType(about, of, f, "a string", func(v any) bool { _, ok := v.(string); return ok })
	}
}

func wantFlags(about *complaints, of map[string]any, fields []field) {
	for _, f := range fields {
		wantType(about, of, f, "a boolean", func(v any) bool { _, ok := v.(bool); return ok })
	}
}

// wantType tells whether a field is there, and of its type. One of another type is complained of, unless nobody minds,
// and taken out.
func wantType(about *complaints, of map[string]any, f field, what string, is func(any) bool) bool {
	value := of[f.name]
	if value == nil {
		return false
	}
	if is(value) {
		return true
	}
	if about != nil {
		about.add("%s must be %s, but has value %s", f.said, what, clip(inspect(value)))
	}
	delete(of, f.name)
	return false
}

func isObject(v any) bool { _, ok := v.(map[string]any); return ok }

func isObjects(v any) bool { return isListOf(v, isObject) }

func isTexts(v any) bool {
	return isListOf(v, func(v any) bool { _, ok := v.(string); return ok })
}

func isListOf(v any, is func(any) bool) bool {
	list, ok := v.([]any)
	return ok && !slices.ContainsFunc(list, func(v any) bool { return !is(v) })
}

func isInteger(v any) bool {
	n, ok := v.(float64)
	return ok && n == float64(int64(n))
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// inspect writes a value as Cloud Controller does, which is written in Ruby.
func inspect(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case string:
		return strconv.Quote(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = inspect(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case map[string]any:
		var items []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			items = append(items, strconv.Quote(name)+"=>"+inspect(v[name]))
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	return fmt.Sprint(v)
}
