package opensearch

import (
	"encoding/json"
	"strconv"

	"github.com/backstay/backstay/engine"
)

const second = int64(1000)

// Which scripts are run is read by the server when it starts. That all of them are, it has no word for.
const (
	allowedScripts = "script.allowed_types"
	allScripts     = "both"
)

var _ engine.Tunable = Engine{}

// Tuning returns the settings that users may choose, most of which a server takes while it runs. None lets anybody ask
// other machines, log what clients say, or have more nodes.
func (Engine) Tuning(engine.Installation) engine.Tuning {
	return engine.Tuning{
		{Name: "action.auto_create_index", Of: engine.Switch, Default: "on",
			Meaning: "Whether a document for an index that there is not makes it."},
		{Name: "action.destructive_requires_name", Of: engine.Switch, Default: "off",
			Meaning: "Whether indices are deleted by their whole names alone, and not by a pattern."},
		{Name: allowedScripts, Of: engine.Choice, Values: []string{allScripts, "inline", "stored", "none"},
			Default: allScripts, Restart: true, Meaning: "Which scripts are run: those that come with a request " +
				"(`inline`), also of bindings that only read; those that others have put there (`stored`); or `none`."},
		{Name: "script.max_compilations_rate", Of: engine.Text, Pattern: `[1-9][0-9]{0,3}/[1-9][0-9]{0,2}m`,
			Example: "150/5m", Default: "75/5m", Meaning: "How many new scripts are compiled in how many minutes."},
		{Name: "search.allow_expensive_queries", Of: engine.Switch, Default: "on",
			Meaning: "Whether queries may look at each document, as scripts, wildcards and joins do."},
		{Name: "search.default_allow_partial_results", Of: engine.Switch, Default: "on",
			Meaning: "Whether a search is answered of which a part has failed or run out of its time."},
		{Name: "search.default_keep_alive", Of: engine.Span, Least: second, Most: 3600 * second, Default: "5min",
			Meaning: "How long a scroll is kept that says nothing else."},
		{Name: "search.default_search_timeout", Of: engine.Span, Least: 100, Most: 3600 * second,
			Meaning: "How long a search may take that says nothing else; without it, as long as it takes."},
		{Name: "search.max_buckets", Of: engine.Number, Least: 1, Most: 200000, Default: "65535",
			Meaning: "How many buckets the aggregations of one answer may have."},
		{Name: "search.max_open_scroll_context", Of: engine.Number, Least: 1, Most: 2000, Default: "500",
			Meaning: "How many scrolls may be open."},
	}
}

// settings are what can be chosen of a node.
type settings struct {
	Settings map[string]json.RawMessage `json:"settings"` // see Tuning
}

// tuned are settings in the server's words.
type tuned struct {
	persistent map[string]any // that it takes while it runs, and keeps; nil for each of which nobody chose anything
	static     map[string]any // that it reads when it starts
}

// tune returns what users chose.
func tune(n engine.Node) (tuned, error) {
	var s settings
	if err := n.DecodeSettings(product, &s); err != nil {
		return tuned{}, err
	}
	tuning := Engine{}.Tuning(n.Installation)
	chosen, err := tuning.Parse(s.Settings, n.Size.Memory)
	if err != nil {
		return tuned{}, err
	}
	t := tuned{map[string]any{}, map[string]any{}}
	for _, setting := range tuning {
		if !setting.Restart {
			t.persistent[setting.Name] = nil
		}
	}
	for _, c := range chosen {
		switch {
		case c.Name == allowedScripts:
			if c.Value != allScripts {
				t.static[c.Name] = c.Value
			}
		case c.Of == engine.Switch:
			t.persistent[c.Name] = strconv.FormatBool(c.Value == "on")
		case c.Of == engine.Span:
			t.persistent[c.Name] = c.Value + "ms"
		default:
			t.persistent[c.Name] = c.Value
		}
	}
	return t, nil
}
