package terms

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/backstay/backstay"
)

// object is a JSON object, by its keys.
type object map[string]json.RawMessage

// parse reads parameters. Nil is an empty object. The error is Invalid for what is none.
func parse(parameters json.RawMessage) (object, error) {
	o := object{}
	if parameters == nil {
		return o, nil
	}
	if err := json.Unmarshal(parameters, &o); err != nil || o == nil {
		return nil, backstay.Errorf(backstay.Invalid, "Parameters must be a JSON object")
	}
	return o, nil
}

// encode writes an object with its keys in order. An empty one is nil.
func (o object) encode() (json.RawMessage, error) {
	if len(o) == 0 {
		return nil, nil
	}
	encoded, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode parameters: %w", err)
	}
	return encoded, nil
}

// without returns the object without these keys.
func (o object) without(keys ...string) object {
	rest := maps.Clone(o)
	for _, key := range keys {
		delete(rest, key)
	}
	return rest
}

// lasting returns what an instance keeps of the object: windows are kept beside the others, and most of what the
// platform fulfils is done once.
func (o object) lasting() object {
	lasting := maps.Clone(o)
	maps.DeleteFunc(lasting, func(name string, _ json.RawMessage) bool {
		parameter, ours := platforms[name]
		return ours && !parameter.lasts
	})
	return lasting
}

// engines returns the object without the platform's parameters.
func (o object) engines() object {
	return o.without(slices.Collect(maps.Keys(platforms))...)
}

// asking returns the object without what asks for nothing: an empty set, no settings, and a wish that is declined. What
// waits for the maintenance window would else give way to nothing. To decline to wait is a wish, and stays.
func (o object) asking() object {
	values, asking := o.values(), maps.Clone(o)
	maps.DeleteFunc(asking, func(name string, _ json.RawMessage) bool {
		switch value := values[name].(type) {
		case bool:
			_, wish := platforms[name]
			return wish && !value && !slices.Contains(scheduling, name)
		case []any:
			return len(value) == 0
		case map[string]any:
			return len(value) == 0
		}
		return false
	})
	return asking
}

// values returns what the object says, in a form that can be compared.
func (o object) values() map[string]any {
	values := map[string]any{}
	for key, encoded := range o {
		var value any
		_ = json.Unmarshal(encoded, &value) // it was read as a part of JSON
		values[key] = value
	}
	return values
}

// put encodes a value and puts it under the key.
func (o object) put(key string, value any) error {
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode parameter %s: %w", key, err)
	}
	o[key] = encoded
	return nil
}

// set reads the parameter of that name as a set. It is false for one that is none.
func (o object) set(name string) (members []string, ok bool) {
	if o[name] == nil {
		return nil, true
	}
	return members, json.Unmarshal(o[name], &members) == nil
}

// settingsKey names the parameter that holds settings of the engine by their names.
const settingsKey = "settings"

// merge returns the accepted parameters with what is given laid over them. Sets that are enabled and disabled grow, and
// take from one another; settings replace one another by their names, and null takes one away; whatever else is given
// replaces what is there.
func (o object) merge(given object) (object, error) {
	merged := maps.Clone(o)
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch counterpart := counterpart(name); {
		case name == settingsKey:
			if err := merged.mergeSettings(given[name]); err != nil {
				return nil, err
			}
		case counterpart != "":
			if err := merged.mergeSet(name, counterpart, given); err != nil {
				return nil, err
			}
		default:
			merged[name] = given[name]
		}
	}
	return merged, nil
}

// counterpart is the name of the parameter that takes back what the one of that name does; empty for most.
func counterpart(name string) string {
	if what, ok := strings.CutPrefix(name, "enable_"); ok {
		return "disable_" + what
	}
	if what, ok := strings.CutPrefix(name, "disable_"); ok {
		return "enable_" + what
	}
	return ""
}

func (o object) mergeSet(name, counterpart string, given object) error {
	added, addedOK := given.set(name)
	has, hasOK := o.set(name)
	opposite, oppositeOK := o.set(counterpart)
	if !addedOK || !hasOK || !oppositeOK {
		o[name] = given[name]
		return nil
	}
	remaining := slices.DeleteFunc(opposite, func(member string) bool { return slices.Contains(added, member) })
	for key, members := range map[string][]string{name: slices.Concat(has, added), counterpart: remaining} {
		delete(o, key)
		if len(members) == 0 {
			continue
		}
		if err := o.put(key, slices.Compact(slices.Sorted(slices.Values(members)))); err != nil {
			return err
		}
	}
	return nil
}

func (o object) mergeSettings(given json.RawMessage) error {
	settings, err := parse(o[settingsKey])
	if err != nil {
		return err
	}
	changed, err := parse(given)
	if err != nil {
		return err
	}
	maps.Copy(settings, changed)
	maps.DeleteFunc(settings, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	delete(o, settingsKey)
	if len(settings) == 0 {
		return nil
	}
	return o.put(settingsKey, settings)
}

// contradiction refuses one name that is both enabled and disabled, as Invalid.
func (o object) contradiction() error {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		opposite := counterpart(name)
		if !strings.HasPrefix(name, "disable_") || o[opposite] == nil {
			continue
		}
		disabled, _ := o.set(name)
		enabled, _ := o.set(opposite)
		for _, member := range disabled {
			if slices.Contains(enabled, member) {
				return backstay.Errorf(backstay.Invalid,
					"%s stands in both %s and %s: name it in one of them.", member, opposite, name)
			}
		}
	}
	return nil
}
