package broker

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"gopkg.in/yaml.v3"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker/terms"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/window"
)

//go:embed catalog.yaml
var defaultCatalog []byte

// Catalog is what an operator offers: a YAML document, catalog.yaml being the one that is built in.
type Catalog struct {
	Currency  string     `yaml:"currency"` // ISO 4217, of all prices
	Offerings []Offering `yaml:"offerings"`
}

// Offering is one service offering: an engine, at several sizes.
type Offering struct {
	ID            string         `yaml:"id"` // a UUID that never changes: plan ids derive from it
	Name          string         `yaml:"name"`
	Engine        string         `yaml:"engine"`
	Backend       string         `yaml:"backend"` // where its instances live; empty: on this machine
	Product       string         `yaml:"product"` // as descriptions name it, before "Version"; empty: by its true name
	Description   string         `yaml:"description"`
	Documentation string         `yaml:"documentation"`
	Tags          []string       `yaml:"tags"`
	Shareable     bool           `yaml:"shareable"`
	Private       bool           `yaml:"private"` // not for everybody: an administrator enables access to it
	Plans         PlanGrammar    `yaml:"plans"`
	Free          *Size          `yaml:"free"`     // the plan "Free", of the newest version; absent: none
	Sizes         []Size         `yaml:"sizes"`    // one plan for each, and for each version of the engine
	Settings      map[string]any `yaml:"settings"` // of the engine, for each new instance; users cannot choose them
	Parameters    ParameterRules `yaml:"parameters"`
	Windows       Windows        `yaml:"windows"` // of each instance that chooses none
	Fixed         bool           `yaml:"fixed"`   // an instance keeps the plan that it is created with
	// Backups is for how many days backups are kept, 7 if it is absent, and 0 if none are taken. The plan "Free" has none
	// that does not say so itself.
	Backups *int `yaml:"backups"`
}

// PlanGrammar is how plans are named and described. In it {size}, {version}, {product}, {storage},
// {memory} and {connections} stand for the plan's own, {backups} for "NOT BACKED UP, " where it is not, {encrypted}
// for "Encrypted, " where it is, and {available} for "Highly Available, " where there is a standby. Plans whose names
// tell no version are of the newest.
type PlanGrammar struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
}

// The guide's grammar for databases.
const (
	planName        = "{size}-dedicated-{version}"
	planDescription = "{storage} Storage, {encrypted}{backups}Dedicated Instance, {available}" +
		"Max {connections} Concurrent Connections. {product} Version {version}. DB Instance Class: {size} ({memory} memory)."
)

// Size is what one plan size gives and costs.
type Size struct {
	Name        string         `yaml:"name"` // S, M, L, XL; empty for the free one
	Storage     backstay.Bytes `yaml:"storage"`
	Memory      backstay.Bytes `yaml:"memory"`
	Connections int            `yaml:"connections"`
	Monthly     float64        `yaml:"monthly"`     // price, in the catalog's currency
	Backups     *int           `yaml:"backups"`     // days that backups are kept; absent: as the offering says
	Encrypted   bool           `yaml:"encrypted"`   // at rest, with a key of each instance's own
	Nodes       int            `yaml:"nodes"`       // 2: a primary and a standby; absent: one node
	Description string         `yaml:"description"` // of its plan; absent: as the offering says
	Backend     string         `yaml:"backend"`     // where instances of its plans live; empty: as the offering says
}

// Windows are when instances may be worked on, in UTC. One that is absent is a random one of each instance.
type Windows struct {
	Maintenance window.Weekly `yaml:"maintenance"` // "sun:23:00-mon:01:30"
	Backup      window.Daily  `yaml:"backup"`      // "02:00-05:00"
}

// ParameterRules say what users may give with -c.
type ParameterRules struct {
	Create terms.Rules `yaml:"create"`
	Bind   terms.Rules `yaml:"bind"`
	Update terms.Rules `yaml:"update"` // nil: the engine's parameters stay
}

// ParseCatalog reads a catalog, strictly, and reports all its mistakes at once. Nil is the built-in one. An offering
// whose engine is not among the known ones is a mistake; if none are named, every engine may be meant.
func ParseCatalog(document []byte, known ...string) (Catalog, error) {
	if document == nil {
		document = defaultCatalog
	}
	var c Catalog
	d := yaml.NewDecoder(bytes.NewReader(document))
	d.KnownFields(true)
	switch err := d.Decode(&c); {
	case errors.Is(err, io.EOF):
		return c, errors.New("catalog: there is nothing in it")
	case err != nil:
		return c, fmt.Errorf("catalog: %w", explain(err))
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return c, errors.New("catalog: more than one YAML document is in it, and only one may be: remove the line ---")
	}
	for i := range c.Offerings {
		o := &c.Offerings[i]
		o.Description, o.Plans.Description = strings.TrimSpace(o.Description), strings.TrimSpace(o.Plans.Description)
	}
	return c, c.check(known)
}

// offering returns the one of that id; nil: it is not offered any more.
func (c Catalog) offering(id backstay.ServiceID) *Offering {
	for i := range c.Offerings {
		if c.Offerings[i].ID == string(id) {
			return &c.Offerings[i]
		}
	}
	return nil
}

// plan is a plan with what it takes to provide it.
type plan struct {
	backstay.CatalogPlan
	offering *Offering
	backend  string // in which its instances live
	engine   backend.EngineVersion
	builds   terms.Builds
	size     Size
}

// inventories are what backends can serve, by their names. One that is not known is not among them.
type inventories map[string]backend.Inventory

// plans lists the plans that the backends can serve: of each, every size of every version found, newest version first.
// Plans that promise encryption are made where the backend can keep that promise.
func (c Catalog) plans(o *Offering, can inventories) (plans []plan) {
	for _, name := range o.backends() {
		if inventory, known := can[name]; known {
			plans = append(plans, c.plansIn(o, name, inventory)...)
		}
	}
	return plans
}

// allPlans are those of all offerings, by their ids.
func (c Catalog) allPlans(can inventories) map[backstay.ServicePlanID]plan {
	all := map[backstay.ServicePlanID]plan{}
	for i := range c.Offerings {
		for _, p := range c.plans(&c.Offerings[i], can) {
			all[p.ID] = p
		}
	}
	return all
}

// plansIn lists the plans that live in one backend.
func (c Catalog) plansIn(o *Offering, in string, inventory backend.Inventory) []plan {
	versions, builds := versionsOf(o.Engine, inventory)
	named := cmp.Or(o.Plans.Name, planName)
	sold := versions
	if len(versions) > 0 && !strings.Contains(named, "{version}") {
		sold = versions[:1]
	}
	var plans []plan
	for _, v := range sold {
		for _, size := range o.Sizes {
			if o.backendOf(size) != in || size.Encrypted && inventory.Encryption == "" || !holdsNodes(size, v, inventory.Room) {
				continue
			}
			size.Backups = backupDays(v, cmp.Or(size.Backups, o.Backups, &defaultDays))
			plans = append(plans, c.plan(o, fill(named, o, v, size), v, builds, size))
		}
	}
	if o.Free != nil && o.backendOf(*o.Free) == in && len(versions) > 0 {
		free := *o.Free
		free.Name = "Free"
		free.Backups = backupDays(versions[0], cmp.Or(free.Backups, new(int)))
		plans = append(plans, c.plan(o, free.Name, versions[0], builds, free))
	}
	for i := range plans {
		if less := shortage(plans[i].size, inventory.Room); less != "" {
			plans[i].Description = strings.TrimSuffix(plans[i].Description, ".") + "." + less
		}
	}
	return plans
}

// defaultDays is how long backups are kept where the catalog does not say.
var defaultDays = 7

// backupDays is for how many days backups are kept of what can be backed up.
func backupDays(v backend.EngineVersion, wanted *int) *int {
	if v.RestorePoints == backstay.NoRestorePoints {
		return new(int)
	}
	return wanted
}

// holdsNodes tells whether the backend can have as many nodes of an instance as the size has. Several of them are of
// use only where each of them has the memory that it is promised.
func holdsNodes(s Size, v backend.EngineVersion, room backstay.Size) bool {
	if s.Nodes < 2 {
		return true
	}
	return s.Nodes <= v.Nodes && (room.Memory == 0 || backstay.Bytes(s.Nodes)*s.Memory <= room.Memory)
}

// shortage is what a plan's description says where the plan is larger than what there is room for.
func shortage(s Size, room backstay.Size) string {
	var less []string
	nodes := backstay.Bytes(max(1, s.Nodes))
	if room.Memory > 0 && nodes*s.Memory > room.Memory {
		less = append(less, room.Memory.Rounded().String()+" memory")
	}
	if room.Storage > 0 && nodes*s.Storage > room.Storage {
		less = append(less, room.Storage.Rounded().String()+" storage")
	}
	if len(less) == 0 {
		return ""
	}
	return " More than there is here, which is " + strings.Join(less, " and ") + "."
}

// versionsOf returns the versions of an engine, the newest first and each as its newest build, and all builds.
func versionsOf(name string, inventory backend.Inventory) (versions []backend.EngineVersion, builds terms.Builds) {
	for _, e := range inventory.Engines {
		if e.Engine == name {
			versions = append(versions, e)
		}
	}
	slices.SortStableFunc(versions, func(a, b backend.EngineVersion) int {
		return cmp.Or(engine.CompareVersions(b.Version, a.Version), engine.CompareVersions(b.FullVersion, a.FullVersion))
	})
	builds = terms.Builds{}
	for _, v := range versions {
		builds[v.Version] = append(builds[v.Version], v.FullVersion)
	}
	versions = slices.CompactFunc(versions, func(a, b backend.EngineVersion) bool { return a.Version == b.Version })
	return versions, builds
}

func (c Catalog) plan(
	o *Offering, name string, v backend.EngineVersion, builds terms.Builds, s Size,
) plan {
	p := plan{offering: o, backend: o.backendOf(s), engine: v, builds: builds, size: s}
	p.CatalogPlan = backstay.CatalogPlan{
		ID:          backstay.ServicePlanID(uuid.NewSHA1(uuid.MustParse(o.ID), []byte(name)).String()),
		Name:        name,
		Description: fill(cmp.Or(s.Description, o.Plans.Description, planDescription), o, v, s),
		Free:        s.Monthly == 0,
		Costs:       []backstay.Cost{{Amount: s.Monthly, Currency: c.Currency, Unit: "MONTHLY"}},
	}
	p.MaintenanceInfo = maintenanceInfo(v.Product, v.FullVersion)
	return p
}

// terms are what can be agreed on under the plan.
func (p plan) terms() terms.Plan {
	if p.offering == nil {
		return terms.Plan{}
	}
	rules := p.offering.Parameters
	return terms.Plan{
		Name: p.Name, Engine: p.engine.Engine, Version: p.engine.Version, Builds: p.builds,
		Size:      backstay.Size{Storage: p.size.Storage, Memory: p.size.Memory, Connections: p.size.Connections},
		Encrypted: p.size.Encrypted, Nodes: p.size.Nodes,
		Settings: p.offering.Settings, Tunable: p.engine.Settings,
		Create: rules.Create, Update: rules.Update, Changeable: !p.offering.Fixed,
		Windows: terms.Windows(p.offering.Windows), Backups: *p.size.Backups, RestorePoints: p.engine.RestorePoints,
	}
}

// schemas are what only who reads the catalog wants to know, since it takes longer than all the rest of it.
func (p plan) schemas() backstay.Schemas {
	agreed := p.terms()
	return backstay.Schemas{
		CreateInstance: agreed.CreateRules().Schema(), UpdateInstance: agreed.UpdateRules().Schema(),
		CreateBinding: p.offering.Parameters.Bind.Schema(),
	}
}

// fill puts the plan's own in the place of each name in braces.
func fill(template string, o *Offering, v backend.EngineVersion, s Size) string {
	backups, encrypted, available := "", "", ""
	if *s.Backups == 0 {
		backups = "NOT BACKED UP, "
	}
	if s.Encrypted {
		encrypted = "Encrypted, "
	}
	if s.Nodes > 1 {
		available = "Highly Available, "
	}
	return strings.NewReplacer(
		"{backups}", backups, "{encrypted}", encrypted, "{available}", available,
		"{size}", s.Name, "{version}", v.Version, "{product}", cmp.Or(o.Product, v.Product), "{storage}", s.Storage.String(),
		"{memory}", s.Memory.String(), "{connections}", strconv.Itoa(s.Connections),
	).Replace(template)
}
