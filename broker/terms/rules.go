package terms

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/backstay/backstay"
)

// Rules are a JSON Schema for what users may give with -c. Nil rules accept no parameters.
type Rules map[string]any

// schemaURL names a schema inside its compiler; nothing is ever fetched.
const schemaURL = "backstay:parameters"

// Validate tells what keeps the rules from being a schema that stands by itself.
func (r Rules) Validate() error {
	_, err := r.compile()
	return err
}

// Schema returns the rules as a broker's catalog shows them. They are valid. As the specification wants of each schema
// (OSB 2.17, "Schema Parameters"), those that do not say by which draft they are to be read say so, too.
func (r Rules) Schema() json.RawMessage {
	told := r.schema()
	if told["$schema"] == nil {
		told = maps.Clone(told)
		told["$schema"] = "http://json-schema.org/draft-06/schema#"
	}
	encoded, err := json.Marshal(told)
	if err != nil {
		panic("a checked catalog has a schema that is not JSON: " + err.Error())
	}
	return encoded
}

func (r Rules) schema() map[string]any {
	if r == nil {
		return map[string]any{"type": "object", "additionalProperties": false, "properties": map[string]any{}}
	}
	return r
}

func (r Rules) compile() (*jsonschema.Schema, error) {
	encoded, err := json.Marshal(r.schema())
	if err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(refuseToLoad{})
	if err := c.AddResource(schemaURL, document); err != nil {
		return nil, err
	}
	return c.Compile(schemaURL)
}

// refuseToLoad keeps a catalog's schema from reaching out to files or the network.
type refuseToLoad struct{}

func (refuseToLoad) Load(url string) (any, error) {
	return nil, fmt.Errorf("a schema may not refer to %s", url)
}

// Check refuses parameters that the rules do not accept as Invalid, with all mistakes in one text. Nil
// is nothing given, which is always accepted.
func (r Rules) Check(given json.RawMessage) error {
	if given == nil {
		return nil
	}
	schema, err := r.compile()
	if err != nil {
		return fmt.Errorf("compile schema of a checked catalog: %w", err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(given))
	if err != nil {
		return backstay.Errorf(backstay.Invalid, "Parameters must be a JSON object")
	}
	err = schema.Validate(value)
	var wrong *jsonschema.ValidationError
	if errors.As(err, &wrong) {
		return backstay.Errorf(backstay.Invalid, "%s", r.explain(wrong))
	}
	return err
}

// explain says what is wrong with parameters: each leaf of the validation is one mistake.
func (r Rules) explain(e *jsonschema.ValidationError) string {
	var sentences []string
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 {
			sentences = append(sentences, r.mistake(e))
		}
		for _, c := range e.Causes {
			walk(c)
		}
	}
	walk(e)
	slices.Sort(sentences)
	return strings.Join(slices.Compact(sentences), " ")
}

func (r Rules) mistake(e *jsonschema.ValidationError) string {
	where := strings.Join(e.InstanceLocation, ".")
	if where == "" {
		where = "parameters"
	}
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		if where == settingsKey {
			return rulesOf(r.properties()[settingsKey]).unknown("setting", k.Properties)
		}
		return r.unknown("parameter", k.Properties)
	case *kind.Type:
		return fmt.Sprintf("Parameter %s is of the wrong type: it is %s and must be %s.",
			where, k.Got, strings.Join(k.Want, " or "))
	case *kind.Pattern:
		return fmt.Sprintf("Parameter %s: %q is not written as it must be%s.", where, k.Got, r.example(e.InstanceLocation))
	case *kind.Minimum:
		return fmt.Sprintf("Parameter %s: %s is too little; it takes %s or more.", where, number(k.Got), number(k.Want))
	case *kind.Maximum:
		return fmt.Sprintf("Parameter %s: %s is too much; it takes %s or less.", where, number(k.Got), number(k.Want))
	case *kind.Enum:
		return fmt.Sprintf("Parameter %s: %s is not supported. Supported are: %s.",
			where, enumerate([]any{k.Got}), enumerate(k.Want))
	}
	return fmt.Sprintf("Parameter %s: %s.", where, e.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
}

// example says how a parameter, or one within another, is written; empty if its schema has no example.
func (r Rules) example(location []string) string {
	for _, name := range location {
		r = rulesOf(r.properties()[name])
	}
	if examples, ok := r["examples"].([]any); ok && len(examples) > 0 {
		return fmt.Sprintf(", such as %v", examples[0])
	}
	return ""
}

func number(n *big.Rat) string {
	return strings.TrimRight(strings.TrimRight(n.FloatString(3), "0"), ".")
}

// unknown says that parameters of these names mean nothing here, and which ones do.
func (r Rules) unknown(kind string, names []string) string {
	return fmt.Sprintf("Unknown %s: %s. %s", kind, strings.Join(names, ", "), r.supported(kind))
}

func (r Rules) supported(kind string) string {
	names := slices.Sorted(maps.Keys(r.properties()))
	if len(names) == 0 {
		return fmt.Sprintf("No %ss are supported here.", kind)
	}
	return "Supported are: " + strings.Join(names, ", ") + "."
}

// properties are those that the schema describes.
func (r Rules) properties() map[string]any { return rulesOf(r["properties"]) }

// rulesOf returns an object within a schema. A YAML decoder gives inner objects the type of the outer one.
func rulesOf(part any) Rules {
	switch inner := part.(type) {
	case Rules:
		return inner
	case map[string]any:
		return inner
	}
	return nil
}

// defaults are what the schema says of parameters that are not among the given ones.
func (r Rules) defaults(given object) map[string]any {
	missing := map[string]any{}
	for name, described := range r.properties() {
		if value, ok := rulesOf(described)["default"]; ok && given[name] == nil {
			missing[name] = value
		}
	}
	return missing
}

func enumerate(values []any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		if texts[i] = "null"; v != nil {
			texts[i] = fmt.Sprint(v)
		}
	}
	return strings.Join(texts, ", ")
}
