package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
)

// Tunable is an Engine with settings that users may choose. They arrive in Node.Settings as an object under the key
// "settings".
type Tunable interface {
	// Tuning returns these settings. None of them lets anybody out of an instance, makes a node log what is secret, or
	// takes more than its plan gives.
	Tuning(i Installation) Tuning
}

// Tuning lists settings that users may choose.
type Tuning []Setting

// Setting is one setting of a product that users may choose, under the product's own name for it.
type Setting struct {
	Name        string
	Of          Type
	Least, Most int64    // of a Number or Ratio; of Memory, in bytes; of a Span, in milliseconds
	Part        int      // of Memory: at most one such part of the plan's memory; 0: Most alone counts
	Values      []string // of a Choice
	Pattern     string   // of a Text: what the whole of it matches
	Example     string   // of a Text
	Default     string   // what holds where nobody chooses; empty: what the plan or the product decides
	Restart     bool     // only a restart puts it in force
	Meaning     string   // for users, one sentence
}

// Type is what a setting takes.
type Type int

const (
	Switch Type = iota // true, false, "on" or "off"
	Number             // a whole number
	Ratio              // a number that need not be whole
	Memory             // a size with a unit: "16MB"
	Span               // a time with a unit: "30s"
	Choice             // one of Values
	Text               // a text that Pattern matches
)

// Chosen is a setting with the value that somebody chose: "on" or "off" of a Switch, bytes of Memory, milliseconds of
// a Span.
type Chosen struct {
	Setting
	Value string
}

// spans are the units of a Span in milliseconds.
var spans = map[string]int64{"ms": 1, "s": 1000, "min": 60 * 1000, "h": 3600 * 1000, "d": 24 * 3600 * 1000}

var spanText = regexp.MustCompile(`^([0-9]{1,9})(ms|s|min|h|d)$`)

// Schema returns JSON Schema properties of the settings, as backend.EngineVersion has them.
func (t Tuning) Schema() json.RawMessage {
	properties := map[string]any{}
	for _, s := range t {
		properties[s.Name] = s.schema()
	}
	encoded, err := json.Marshal(properties)
	if err != nil {
		panic("a table of settings is no JSON: " + err.Error())
	}
	return encoded
}

func (s Setting) schema() map[string]any {
	schema := map[string]any{"description": s.Meaning}
	if s.Default != "" {
		schema["x-default"] = s.Default
	}
	if s.Restart {
		schema["x-restart"] = true
	}
	switch s.Of {
	case Switch:
		schema["enum"] = []any{true, false, "on", "off"}
	case Number:
		schema["type"], schema["minimum"], schema["maximum"] = "integer", s.Least, s.Most
	case Ratio:
		schema["type"], schema["minimum"], schema["maximum"] = "number", s.Least, s.Most
	case Choice:
		schema["enum"] = s.Values
	case Memory:
		schema["type"], schema["pattern"], schema["examples"] = "string", `^[0-9]+(kB|KB|MB|GB)$`, []string{"16MB"}
		schema["x-minimum"], schema["x-maximum"] = backstay.Bytes(s.Least).String(), backstay.Bytes(s.Most).String()
		if s.Part > 0 {
			schema["x-memory-part"] = s.Part
		}
	case Span:
		schema["type"], schema["pattern"], schema["examples"] = "string", spanText.String(), []string{"30s"}
		schema["x-minimum"], schema["x-maximum"] = inSpan(s.Least), inSpan(s.Most)
	case Text:
		schema["type"], schema["pattern"], schema["examples"] = "string", "^(?:"+s.Pattern+")$", []string{s.Example}
	}
	return schema
}

// Range says in words what the setting takes.
func (s Setting) Range() string {
	switch s.Of {
	case Switch:
		return "`true` or `false`"
	case Number, Ratio:
		return fmt.Sprintf("%d to %d", s.Least, s.Most)
	case Choice:
		return "`" + strings.Join(s.Values, "`, `") + "`"
	case Memory:
		switch {
		case s.Part == 1:
			return fmt.Sprintf("%s to the plan's memory", backstay.Bytes(s.Least))
		case s.Part > 1:
			return fmt.Sprintf("%s to 1/%d of the plan's memory", backstay.Bytes(s.Least), s.Part)
		}
		return fmt.Sprintf("%s to %s", backstay.Bytes(s.Least), backstay.Bytes(s.Most))
	case Span:
		return fmt.Sprintf("%s to %s", inSpan(s.Least), inSpan(s.Most))
	}
	return "such as `" + s.Example + "`"
}

// Parse reads the settings that somebody chose, and returns them in the order of their names. Memory is the plan's. The
// error is Invalid for a setting that there is not, and for a value that one does not take.
func (t Tuning) Parse(given map[string]json.RawMessage, memory backstay.Bytes) ([]Chosen, error) {
	var all []Chosen
	for _, name := range slices.Sorted(maps.Keys(given)) {
		i := slices.IndexFunc(t, func(s Setting) bool { return s.Name == name })
		if i < 0 {
			return nil, backstay.Errorf(backstay.Invalid, "Unknown setting: %s. Supported are: %s.", name, t.names())
		}
		value, ok := t[i].parse(given[name], memory)
		if !ok {
			return nil, backstay.Errorf(backstay.Invalid, "Setting %s cannot be %s. It takes %s.",
				name, given[name], strings.ReplaceAll(t[i].Range(), "`", ""))
		}
		all = append(all, Chosen{t[i], value})
	}
	return all, nil
}

func (t Tuning) names() string {
	names := make([]string, len(t))
	for i, s := range t {
		names[i] = s.Name
	}
	return strings.Join(slices.Sorted(slices.Values(names)), ", ")
}

// parse returns a value as Chosen has it.
func (s Setting) parse(given json.RawMessage, memory backstay.Bytes) (value string, ok bool) {
	if string(given) == "null" {
		return "", false
	}
	switch s.Of {
	case Number, Ratio:
		return s.parseNumber(given)
	case Switch:
		return parseSwitch(given)
	}
	if json.Unmarshal(given, &value) != nil {
		return "", false
	}
	switch s.Of {
	case Choice:
		return value, slices.Contains(s.Values, value)
	case Text:
		return value, regexp.MustCompile(`^(?:` + s.Pattern + `)$`).MatchString(value)
	case Memory:
		size, err := backstay.ParseBytes(value)
		most := s.Most
		if s.Part > 0 {
			most = max(s.Least, min(most, int64(memory)/int64(s.Part)))
		}
		return strconv.FormatInt(int64(size), 10), err == nil && int64(size) >= s.Least && int64(size) <= most
	}
	match := spanText.FindStringSubmatch(value)
	if match == nil {
		return "", false
	}
	number, err := strconv.ParseInt(match[1], 10, 64)
	length := number * spans[match[2]]
	return strconv.FormatInt(length, 10), err == nil && length >= s.Least && length <= s.Most
}

func (s Setting) parseNumber(given json.RawMessage) (value string, ok bool) {
	if s.Of == Number {
		var number int64
		err := json.Unmarshal(given, &number)
		return strconv.FormatInt(number, 10), err == nil && number >= s.Least && number <= s.Most
	}
	var number float64
	err := json.Unmarshal(given, &number)
	return strconv.FormatFloat(number, 'f', -1, 64), err == nil && number >= float64(s.Least) && number <= float64(s.Most)
}

func parseSwitch(given json.RawMessage) (value string, ok bool) {
	switch string(given) {
	case "true", `"on"`:
		return "on", true
	case "false", `"off"`:
		return "off", true
	}
	return "", false
}

// inSpan writes milliseconds in the largest unit that divides them.
func inSpan(length int64) string {
	for _, unit := range []string{"d", "h", "min", "s"} {
		if length != 0 && length%spans[unit] == 0 {
			return strconv.FormatInt(length/spans[unit], 10) + unit
		}
	}
	return strconv.FormatInt(length, 10) + "ms"
}
