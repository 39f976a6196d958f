package mongodb

import (
	"encoding/json"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

const (
	mb, gb = int64(backstay.MB), int64(backstay.GB)
	second = int64(1000)
)

var _ engine.Tunable = Engine{}

// Tuning returns the settings that users may choose: of PostgreSQL and DocumentDB, whose names they have. FerretDB has
// none for what clients ask. None takes a restart. Those are not among them that would lose what was acknowledged, have
// statements logged, or switch on what DocumentDB's makers have only for their tests.
func (Engine) Tuning(engine.Installation) engine.Tuning {
	return engine.Tuning{
		{Name: "autovacuum_naptime", Of: engine.Span, Least: second, Most: 3600 * second, Default: "1min",
			Meaning: "How often it is looked for collections in which the room of old documents is to be used again."},
		{Name: "autovacuum_vacuum_cost_limit", Of: engine.Number, Least: 1, Most: 10000, Default: "200",
			Meaning: "How much of that work is done before it pauses."},
		{Name: "autovacuum_vacuum_scale_factor", Of: engine.Ratio, Most: 1, Default: "0.2",
			Meaning: "Which part of a collection has to change before that work is done."},
		{Name: "checkpoint_timeout", Of: engine.Span, Least: 30 * second, Most: 3600 * second, Default: "5min",
			Meaning: "How far checkpoints are apart: more means less writing, and a longer start after a crash."},
		{Name: "documentdb.maxIndexesPerCollection", Of: engine.Number, Least: 1, Most: 300, Default: "64",
			Meaning: "How many indexes a collection may have."},
		{Name: "documentdb_core.enableCollation", Of: engine.Switch, Default: "off",
			Meaning: "Whether queries may have a collation, as to compare without regard to case. Without it one is refused."},
		{Name: "maintenance_work_mem", Of: engine.Memory, Least: mb, Most: 16 * gb, Part: 4,
			Meaning: "What making an index may take."},
		{Name: "work_mem", Of: engine.Memory, Least: mb, Most: 4 * gb, Part: 8,
			Meaning: "What one sort or group of a query may take before it goes to the disk."},
	}
}

// settings are what can be chosen of a node.
type settings struct {
	Settings map[string]json.RawMessage `json:"settings"` // see Tuning
}

// tuningLines returns the lines of postgresql.conf for what users chose.
func tuningLines(n engine.Node) (lines []setting, err error) {
	var s settings
	if err := n.DecodeSettings(product, &s); err != nil {
		return nil, err
	}
	all, err := (Engine{}).Tuning(n.Installation).Parse(s.Settings, n.Size.Memory)
	units := map[engine.Type]string{engine.Memory: "B", engine.Span: "ms"}
	for _, c := range all {
		lines = append(lines, setting{c.Name, c.Value + units[c.Of]})
	}
	return lines, err
}
