package broker

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker/terms"
)

func inventory(versions ...string) backend.Inventory {
	var i backend.Inventory
	for _, v := range versions {
		i.Engines = append(i.Engines, backend.EngineVersion{
			Engine: "postgres", Version: v, FullVersion: v + ".1", RestorePoints: backstay.AnySecond,
		})
	}
	return i
}

// here is what this machine can serve.
func here(i backend.Inventory) inventories { return inventories{Local: i} }

func TestPlans(t *testing.T) {
	t.Parallel()
	c, err := ParseCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name      string
		inventory backend.Inventory
		want      []string
	}{
		{"nothing installed", inventory(), nil},
		{"another engine", backend.Inventory{Engines: []backend.EngineVersion{{Engine: "redis", Version: "7"}}}, nil},
		{"one version", inventory("15"), []string{
			"S-dedicated-15", "M-dedicated-15", "L-dedicated-15", "XL-dedicated-15", "Free"}},
		{"newest first, by number", inventory("9.6", "15", "10"), []string{
			"S-dedicated-15", "M-dedicated-15", "L-dedicated-15", "XL-dedicated-15",
			"S-dedicated-10", "M-dedicated-10", "L-dedicated-10", "XL-dedicated-10",
			"S-dedicated-9.6", "M-dedicated-9.6", "L-dedicated-9.6", "XL-dedicated-9.6", "Free"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var names []string
			ids := map[backstay.ServicePlanID]bool{}
			for _, p := range c.plans(&c.Offerings[0], here(tc.inventory)) {
				names = append(names, p.Name)
				ids[p.ID] = true
			}
			if !slices.Equal(names, tc.want) || len(ids) != len(names) {
				t.Errorf("plans %q with %d ids, want %q", names, len(ids), tc.want)
			}
		})
	}
}

// TestFoundationsShareAPlan: builds of a version that stand on different ones are sold as one plan, of the newest.
func TestFoundationsShareAPlan(t *testing.T) {
	t.Parallel()
	c, err := ParseCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	i := inventory("2", "2", "2")
	for n, full := range []string{
		"2.7.0 on PostgreSQL 18.7 with DocumentDB 1.0-0", "2.7.0 on PostgreSQL 19.0 with DocumentDB 1.0-0",
		"2.6.0 on PostgreSQL 17.9 with DocumentDB 1.0-0",
	} {
		i.Engines[n].FullVersion = full
	}
	plans := c.plans(&c.Offerings[0], here(i))
	const newest = "2.7.0+on.PostgreSQL.19.0.with.DocumentDB.1.0-0"
	if len(plans) != 5 || plans[0].MaintenanceInfo.Version != newest || plans[0].engine.FullVersion != i.Engines[1].FullVersion {
		t.Errorf("%d plans, the first of %+v", len(plans), plans[0].MaintenanceInfo)
	}
	for build, upgrades := range map[string]bool{
		"2.7.0 on PostgreSQL 18.6 with DocumentDB 1.0-0": true, "2.7.0 on PostgreSQL 18.7 with DocumentDB 1.0-0": false,
		"2.7.0 on PostgreSQL 18.7 with DocumentDB 0.9-0": true, "2.7.0 on PostgreSQL 19.0 with DocumentDB 1.0-0": false,
		"2.7.0 on PostgreSQL 16.2 with DocumentDB 1.0-0": false, "": false,
	} {
		if got := plans[0].upgrades(build); got != upgrades {
			t.Errorf("%q is upgraded: %t, want %t", build, got, upgrades)
		}
	}
}

func TestPlanIsDescribedAsInTheGuide(t *testing.T) {
	t.Parallel()
	c, err := ParseCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.plans(&c.Offerings[0], here(inventory("15"))) {
		if p.Name != "M-dedicated-15" {
			continue
		}
		want := "20GB Storage, Dedicated Instance, Max 500 Concurrent Connections. " +
			"Postgres Version 15. DB Instance Class: M (8GB memory)."
		if p.Description != want || p.Free || p.Costs[0] != (backstay.Cost{Amount: 120, Currency: "GBP", Unit: "MONTHLY"}) {
			t.Errorf("%+v, want %q at 120 GBP a month", p.CatalogPlan, want)
		}
	}
}

// TestEncryptedPlans: they are there for each size where the machine can encrypt, and say so by name and description.
func TestEncryptedPlans(t *testing.T) {
	t.Parallel()
	c, err := ParseCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	encrypting := inventory("15")
	encrypting.Encryption = "fscrypt"
	there := map[string]bool{}
	for _, p := range c.plans(&c.Offerings[0], here(encrypting)) {
		named := strings.HasSuffix(p.Name, "-ENC-dedicated-15")
		there[p.Name] = named
		if p.terms().Encrypted != named || strings.Contains(p.Description, "Storage, Encrypted, Dedicated") != named {
			t.Errorf("%s, encrypted %t: %s", p.Name, p.terms().Encrypted, p.Description)
		}
	}
	for _, size := range []string{"S", "M", "L", "XL"} {
		if !there[size+"-ENC-dedicated-15"] {
			t.Errorf("there is no encrypted plan of size %s among %v", size, there)
		}
	}
}

// A plan is backed up as its size says, else as its offering does, else for a week; the free one only if it says so.
func TestPlansSayWhetherTheyAreBackedUp(t *testing.T) {
	t.Parallel()
	c, err := ParseCatalog([]byte(`{currency: GBP, offerings: [
		{id: 6e1f8f3c-8a0e-4a0c-9d0b-52f1c7a4e501, name: a, engine: postgres, free: {storage: 1GB, memory: 1GB, connections: 1},
			sizes: [{name: S, storage: 1GB, memory: 1GB, connections: 1}]},
		{id: 6e1f8f3c-8a0e-4a0c-9d0b-52f1c7a4e502, name: b, engine: postgres, backups: 14,
			free: {storage: 1GB, memory: 1GB, connections: 1, backups: 1},
			sizes: [{name: S, storage: 1GB, memory: 1GB, connections: 1, backups: 0},
				{name: M, storage: 1GB, memory: 1GB, connections: 1}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []map[string]int{
		{"Free": 0, "S-dedicated-15": 7}, {"Free": 1, "S-dedicated-15": 0, "M-dedicated-15": 14},
	}
	for i := range c.Offerings {
		for _, p := range c.plans(&c.Offerings[i], here(inventory("15"))) {
			days := want[i][p.Name]
			if got := p.terms(); got.Backups != days ||
				strings.Contains(p.Description, "1GB Storage, NOT BACKED UP, Dedicated") != (days == 0) {
				t.Errorf("offering %d, %s: %d days, %q; want %d days", i, p.Name, got.Backups, p.Description, days)
			}
		}
	}
}

// A catalog that names no product leaves it to what is there.
func TestPlansNameTheTrueProduct(t *testing.T) {
	t.Parallel()
	c, err := ParseCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range c.Offerings {
		if o.Name != "mysql" {
			continue
		}
		for _, v := range []backend.EngineVersion{
			{Engine: "mysql", Product: "MariaDB", Version: "10.11", Nodes: 2},
			{Engine: "mysql", Product: "MySQL", Version: "9.7"},
		} {
			plans := c.plans(&o, here(backend.Inventory{Engines: []backend.EngineVersion{v}}))
			pair := slices.ContainsFunc(plans, func(p plan) bool { return p.Name == "XL-HA-dedicated-"+v.Version })
			if pair != (v.Nodes == 2) {
				t.Errorf("%s: whether it is sold with a standby: %t", v.Product, pair)
			}
			want := " " + v.Product + " Version " + v.Version + "."
			if len(plans) == 0 || !strings.Contains(plans[0].Description, want) {
				t.Errorf("%+v, want one with %q", plans, want)
			}
		}
	}
}

func TestParseCatalogTellsMistakes(t *testing.T) {
	t.Parallel()
	const good = `{currency: GBP, offerings: [{id: 6e1f8f3c-8a0e-4a0c-9d0b-52f1c7a4e501, name: a, engine: e, product: P,
		sizes: [{name: S, storage: 1GB, memory: 1GB, connections: 1}]}]}`
	if _, err := ParseCatalog([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, was, is, want string }{
		{"unknown key", "currency", "curency", "curency"},
		{"no UUID", "6e1f8f3c-8a0e-4a0c-9d0b-52f1c7a4e501", "postgres", `id "postgres" is not a UUID`},
		{"no name", "name: a", `name: ""`, "must not be empty"},
		{"no connections", "connections: 1", "connections: 0", `size "S" needs storage, memory and connections`},
		{"size without a unit", "1GB, memory", "1, memory", "want a whole number and a unit"},
		{"negative price", "connections: 1", "connections: 1, monthly: -1", "negative price"},
		{"a negative number of days", "product: P", "product: P, backups: -1", "a negative number of days"},
		{"a negative number of a size", "connections: 1", "connections: 1, backups: -1", "a negative number of days"},
		{"twice the same size", "sizes: [",
			"sizes: [{name: S, storage: 1GB, memory: 1GB, connections: 1}, ", `size "S" stands twice`},
		{"schema that is none", "product: P", "product: P, parameters: {create: {type: 7}}", "parameters: "},
		{"schema from elsewhere", "product: P",
			"product: P, parameters: {create: {$ref: 'file:///etc/passwd'}}", "may not refer to"},
		{"not YAML", "{currency", "{{{currency", "catalog: yaml: line "},
		{"update schema that is none", "product: P", "product: P, parameters: {update: {type: 7}}", "parameters: "},
		{"no currency", "currency: GBP, ", "", `currency is "", and must be the three letters of one, such as GBP`},
		{"a currency that is none", "GBP", "pounds", `currency is "pounds"`},
		{"unknown engine", "engine: e", "engine: oracle", `engine "oracle" is not known; known are: e, postgres`},
		{"line break in a name", "name: a,", `name: "a\nb",`, "has a line break"},
		{"line break in a plan's name", "product: P", `product: P, plans: {name: "x\n{size}"}`, "has a line break"},
		{"line break in a size's name", "name: S", `name: "S\n"`, "has a line break"},
		{"plans of one name", "sizes: [", `plans: {name: x}, sizes: [
			{name: M, storage: 1GB, memory: 1GB, connections: 1}, `, `two plans have the name "x": plans.name must have {size}`},
		{"a plan with the free one's name", "sizes: [{name: S", `plans: {name: "{size}"},
			free: {storage: 1GB, memory: 1GB, connections: 1}, sizes: [{name: Free`, `two plans have the name "Free"`},
		{"braces that stand for nothing", "product: P", `product: P, plans: {name: "{size}-{disk}"}`, "{encrypted} and {connections} do"},
		{"windows that overlap", "product: P", `product: P, windows: {maintenance: "sun:23:00-mon:01:30", backup: "01:00-02:00"}`,
			"windows: The maintenance window sun:23:00-mon:01:30 overlaps"},
		{"a window that is none", "product: P", `product: P, windows: {backup: "at night"}`, "is written HH:MM-HH:MM"},
		{"two documents", "{currency", "{}\n---\n{currency", "more than one YAML document"},
		{"half a document behind it", "connections: 1}]}]}", "connections: 1}]}]}\n---\n{{{", "more than one YAML document"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseCatalog([]byte(strings.Replace(good, tc.was, tc.is, 1)), "e", "postgres")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func TestEmptyCatalog(t *testing.T) {
	t.Parallel()
	for _, document := range []string{"", "# nothing\n"} {
		if _, err := ParseCatalog([]byte(document)); err == nil || !strings.Contains(err.Error(), "there is nothing in it") {
			t.Errorf("%q: %v", document, err)
		}
	}
}

// TestPlanSaysThatItIsLargerThanTheMachine tells it of what is short, and of nothing else.
func TestPlanSaysThatItIsLargerThanTheMachine(t *testing.T) {
	t.Parallel()
	c, err := ParseCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	there := inventory("15")
	there.Room = backstay.Size{Memory: 24<<30 - 1, Storage: 600 << 30}
	for _, p := range c.plans(&c.Offerings[0], here(there)) {
		want := map[string]string{
			"L-dedicated-15":  " More than there is here, which is 23GB memory.",
			"XL-dedicated-15": " More than there is here, which is 23GB memory and 600GB storage.",
		}[p.Name]
		if want == "" && strings.Contains(p.Description, "More than") || !strings.HasSuffix(p.Description, want) {
			t.Errorf("%s: %s", p.Name, p.Description)
		}
	}
}

// TestNodesHaveTheirMemory sells an instance of two only where the machine has the memory of both.
func TestNodesHaveTheirMemory(t *testing.T) {
	t.Parallel()
	c, err := ParseCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	there := inventory("15")
	there.Engines[0].Nodes = 2
	there.Room.Memory = 16 << 30
	var sold []string
	for _, p := range c.plans(&c.Offerings[0], here(there)) {
		if strings.Contains(p.Name, "-HA-") {
			sold = append(sold, p.Name)
		}
	}
	if want := []string{"S-HA-dedicated-15", "M-HA-dedicated-15"}; !slices.Equal(sold, want) {
		t.Errorf("sold: %v, want %v", sold, want)
	}
}

// TestRedisPlans are sold with a standby where there is memory for both nodes, and say what that may lose. Those that
// have none say so, even where they are larger than the machine.
func TestRedisPlans(t *testing.T) {
	t.Parallel()
	c, err := ParseCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	there := backend.Inventory{
		Engines: []backend.EngineVersion{{Engine: "redis", Version: "7.0", Nodes: 2}},
		Room:    backstay.Size{Memory: 8 * backstay.GB, Storage: 600 * backstay.GB},
	}
	wanted := map[string]string{
		"tiny": " no failover", "small": " no failover", "medium": " no failover",
		"large":   " no failover. More than there is here, which is 8GB memory.",
		"tiny-ha": " may be lost", "small-ha": " may be lost",
	}
	plans := c.plans(&c.Offerings[2], here(there))
	for _, p := range plans {
		if want, ok := wanted[p.Name]; !ok || !strings.HasSuffix(p.Description, want) {
			t.Errorf("%s: %s", p.Name, p.Description)
		}
	}
	if len(plans) != len(wanted) {
		t.Errorf("%d plans, want %d", len(plans), len(wanted))
	}
}

// Descriptions may be written over several lines, as YAML folds them.
func TestFoldedDescription(t *testing.T) {
	t.Parallel()
	c, err := ParseCatalog([]byte("currency: GBP\nofferings:\n  - id: 6e1f8f3c-8a0e-4a0c-9d0b-52f1c7a4e501\n    name: a\n" +
		"    engine: e\n    description: >\n      one\n      two\n"))
	if err != nil || c.Offerings[0].Description != "one two" {
		t.Errorf("%+v, %v", c, err)
	}
}

func FuzzParseCatalog(f *testing.F) {
	f.Add(defaultCatalog)
	f.Add([]byte("offerings: [{sizes: [{storage: 9223372036854775807TB}]}]"))
	f.Fuzz(func(t *testing.T, document []byte) {
		c, err := ParseCatalog(document)
		if err != nil || len(document) == 0 {
			return
		}
		for i := range c.Offerings { // a checked catalog can be sold
			c.plans(&c.Offerings[i], here(inventory("15")))
		}
	})
}

// TestSchemasSayTheirDraft, also those of offerings that take nothing of their own.
func TestSchemasSayTheirDraft(t *testing.T) {
	t.Parallel()
	for _, rules := range []terms.Rules{nil, {"type": "object"}, {"$schema": "http://json-schema.org/draft-06/schema#"}} {
		var schema map[string]any
		if err := json.Unmarshal(rules.Schema(), &schema); err != nil ||
			schema["$schema"] != "http://json-schema.org/draft-06/schema#" {
			t.Errorf("%v is told as %v, %v", rules, schema, err)
		}
	}
}

// Whatever is built in can be bound read-only.
func TestBuiltInBindings(t *testing.T) {
	t.Parallel()
	c, err := ParseCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range c.Offerings {
		if err := o.Parameters.Bind.Check(json.RawMessage(`{"read_only": true}`)); err != nil {
			t.Errorf("%s: %v", o.Name, err)
		}
	}
}

// TestParametersAreDocumented holds docs/tenants.md to what the built-in plans take.
func TestParametersAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/tenants.md")
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Offerings {
		o := &c.Offerings[i]
		engines := backend.Inventory{Engines: []backend.EngineVersion{
			{Engine: o.Engine, Version: "1", FullVersion: "1.1", Settings: json.RawMessage(`{"a": {}}`)},
		}}
		schemas := c.plans(o, here(engines))[0].schemas()
		for _, schema := range []json.RawMessage{schemas.CreateInstance, schemas.UpdateInstance, schemas.CreateBinding} {
			var takes struct{ Properties map[string]any }
			if err := json.Unmarshal(schema, &takes); err != nil {
				t.Fatal(err)
			}
			for name := range takes.Properties {
				if !strings.Contains(string(page), "| `"+name+"` |") {
					t.Errorf("%s: docs/tenants.md does not have %s", o.Name, name)
				}
			}
		}
	}
}
