package terms

import (
	"encoding/json"
	"maps"
	"slices"
)

// CreateRules are for all that users may give a new instance of the plan.
func (p Plan) CreateRules() Rules {
	properties := map[string]any{}
	for name, parameter := range platforms {
		if parameter.create {
			properties[name] = parameter.schema
		}
	}
	if settings := p.tunable(); settings != nil {
		properties[settingsKey] = settingsSchema(settings)
	}
	return p.Create.with(properties)
}

// UpdateRules are for all that users may ask for of an instance of the plan.
func (p Plan) UpdateRules() Rules {
	properties := map[string]any{}
	for name, parameter := range platforms {
		properties[name] = parameter.schema
	}
	if settings := p.tunable(); settings != nil {
		for name, described := range settings {
			settings[name] = nullable(rulesOf(described))
		}
		properties[settingsKey] = settingsSchema(settings)
	}
	return p.Update.with(properties)
}

// tunable returns the properties of the parameter "settings"; nil where the engine has none.
func (p Plan) tunable() Rules {
	var settings Rules
	_ = json.Unmarshal(p.Tunable, &settings) // a backend whose schema is none tunes nothing
	return settings
}

func settingsSchema(properties Rules) Rules {
	return Rules{
		"type": "object", "additionalProperties": false, "properties": properties,
		"description": "Settings of the engine, by their names.",
	}
}

// nullable returns a schema that takes null too, which gives a setting its default.
func nullable(r Rules) Rules {
	r = maps.Clone(r)
	if kind, ok := r["type"].(string); ok {
		r["type"] = []any{kind, "null"}
	}
	if values, ok := r["enum"].([]any); ok {
		r["enum"] = append(slices.Clone(values), nil)
	}
	return r
}

// with returns the rules with further properties, which go over those of the same names.
func (r Rules) with(properties map[string]any) Rules {
	whole := Rules(maps.Clone(r.schema()))
	all := map[string]any{}
	maps.Copy(all, r.properties())
	maps.Copy(all, properties)
	whole["properties"] = all
	return whole
}
