package broker

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker/terms"
	"github.com/backstay/backstay/window"
)

// complain notes one mistake of a catalog, for the operator.
type complain func(format string, args ...any)

// currency matches the three letters of ISO 4217.
var currency = regexp.MustCompile(`^[A-Z]{3}$`)

// check tells all mistakes of a catalog in one text.
func (c Catalog) check(known []string) error {
	var wrong []string
	if !currency.MatchString(c.Currency) {
		wrong = append(wrong, fmt.Sprintf(
			"currency is %q, and must be the three letters of one, such as GBP: prices are told in it", c.Currency))
	}
	names := map[string]bool{}
	for i, o := range c.Offerings {
		before := len(wrong)
		complain := func(format string, args ...any) {
			wrong = append(wrong, fmt.Sprintf("offering %d (%s): ", i+1, printable(o.Name))+fmt.Sprintf(format, args...))
		}
		if names[o.Name] || names[o.ID] {
			complain("name and id must be unique")
		}
		names[o.Name], names[o.ID] = true, true
		o.checkIdentity(known, complain)
		o.checkSizes(complain)
		o.checkRules(complain)
		if len(wrong) == before { // else there may be no plans to look at
			c.checkPlanNames(o, complain)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("catalog: %s", strings.Join(wrong, "; "))
	}
	return nil
}

func (o Offering) checkIdentity(known []string, complain complain) {
	if _, err := uuid.Parse(o.ID); err != nil {
		complain("id %q is not a UUID", o.ID)
	}
	switch {
	case o.Backups != nil && *o.Backups < 0:
		complain("backups are kept for a negative number of days")
	case o.Name == "" || o.Engine == "":
		complain("name and engine must not be empty")
	case len(known) > 0 && !slices.Contains(known, o.Engine):
		complain("engine %q is not known; known are: %s", o.Engine, strings.Join(known, ", "))
	}
	for _, text := range slices.Concat([]string{o.Name, o.Product, o.Description, o.Documentation}, o.Tags) {
		if printable(text) != text {
			complain("%q has a line break or another control character in it, which a line of text cannot have", text)
		}
	}
}

func (o Offering) checkSizes(complain complain) {
	seen := map[string]bool{}
	sizes := o.Sizes
	if o.Free != nil {
		sizes = append(slices.Clone(sizes), *o.Free)
	}
	for _, s := range sizes {
		switch {
		case seen[s.Name]:
			complain("size %q stands twice", s.Name)
		case s.Storage <= 0 || s.Memory <= 0 || s.Connections <= 0:
			complain("size %q needs storage, memory and connections", s.Name)
		case s.Monthly < 0:
			complain("size %q has a negative price", s.Name)
		case s.Backups != nil && *s.Backups < 0:
			complain("size %q keeps backups for a negative number of days", s.Name)
		}
		seen[s.Name] = true
	}
}

// checkPlanNames looks at the plans that the offering would have with two versions of its engine.
func (c Catalog) checkPlanNames(o Offering, complain complain) {
	seen := map[string]bool{}
	can := inventories{}
	for _, name := range o.backends() {
		can[name] = backend.Inventory{Encryption: "some", Engines: []backend.EngineVersion{
			{Engine: o.Engine, Product: "P", Version: "1"}, {Engine: o.Engine, Product: "P", Version: "2"},
		}}
	}
	for _, p := range c.plans(&o, can) {
		switch {
		case seen[p.Name]:
			complain("two plans have the name %q: plans.name must have {size} in it, and sizes must have other names", p.Name)
		case p.Name == "":
			complain("a plan has no name")
		case strings.ContainsAny(p.Name+p.Description, "{}"):
			complain("name or description of the plan %q has something in braces that stands for nothing: {size}, {version}, "+
				"{product}, {storage}, {memory}, {backups}, {encrypted} and {connections} do", p.Name)
		case printable(p.Name) != p.Name || printable(p.Description) != p.Description:
			complain("name or description of the plan %q has a line break or another control character in it, "+
				"which a line of text cannot have", p.Name)
		}
		seen[p.Name] = true
	}
}

func (o Offering) checkRules(complain complain) {
	for _, rules := range []terms.Rules{o.Parameters.Create, o.Parameters.Update, o.Parameters.Bind} {
		if err := rules.Validate(); err != nil {
			complain("parameters: %v", err)
		}
	}
	if _, err := json.Marshal(o.Settings); err != nil {
		complain("settings: %v", err)
	}
	if err := window.Check(o.Windows.Maintenance, o.Windows.Backup); err != nil {
		complain("windows: %v", err)
	}
}

// printable returns the text without control characters.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, text)
}
