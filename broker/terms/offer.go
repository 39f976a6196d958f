package terms

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/backstay/backstay"
)

// CreateRules are for all that users may give a new instance of the plan.
func (p Plan) CreateRules() Rules {
	properties := map[string]any{}
	for name, parameter := range platforms {
		if p.taken(parameter, true) {
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
		if p.taken(parameter, false) {
			properties[name] = parameter.schema
		}
	}
	if settings := p.tunable(); settings != nil {
		for name, described := range settings {
			settings[name] = nullable(rulesOf(described))
		}
		properties[settingsKey] = settingsSchema(settings)
	}
	return p.Update.with(properties)
}

// tunable returns the properties of the parameter "settings"; nil where the engine has none. Where the engine says
// which part of the plan's memory a size may be, the plan says how much that is.
func (p Plan) tunable() Rules {
	var settings Rules
	_ = json.Unmarshal(p.Tunable, &settings) // a backend whose schema is none tunes nothing
	for _, described := range settings {
		setting := rulesOf(described)
		part, ok := setting["x-memory-part"].(float64)
		delete(setting, "x-memory-part")
		least, most := sizeOf(setting["x-minimum"]), sizeOf(setting["x-maximum"])
		if ok && part >= 1 {
			setting["x-maximum"] = max(least, min(most, p.Size.Memory/backstay.Bytes(part))).String()
		}
	}
	return settings
}

// sizeOf reads a size; what is none is 0.
func sizeOf(value any) backstay.Bytes {
	text, _ := value.(string)
	size, _ := backstay.ParseBytes(text)
	return size
}

// takes refuses settings that an instance of the plan cannot have, as Invalid. They may have been accepted under
// another plan. A JSON Schema cannot compare sizes, so that they are compared here.
func (p Plan) takes(settings json.RawMessage) error {
	if settings == nil {
		return nil
	}
	parameters, err := object{settingsKey: settings}.encode()
	if err != nil {
		return err
	}
	if err := p.CreateRules().Check(parameters); err != nil {
		return err
	}
	values, err := parse(settings)
	if err != nil {
		return err
	}
	known := p.tunable()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		limits := rulesOf(known[name])
		size, least, most := sizeOf(values.values()[name]), sizeOf(limits["x-minimum"]), sizeOf(limits["x-maximum"])
		if most > 0 && (size < least || size > most) {
			return backstay.Errorf(backstay.Invalid,
				"Setting %s cannot be %s: in plan %s it takes %s to %s.", name, size, p.Name, least, most)
		}
	}
	return nil
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
