package terms

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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

// Schema returns the rules as a broker's catalog shows them. They are valid.
func (r Rules) Schema() json.RawMessage {
	encoded, err := json.Marshal(r.schema())
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
		return r.unknown(k.Properties)
	case *kind.Type:
		return fmt.Sprintf("Parameter %s is of the wrong type: it is %s and must be %s.",
			where, k.Got, strings.Join(k.Want, " or "))
	case *kind.Enum:
		return fmt.Sprintf("Parameter %s: %v is not supported. Supported are: %s.", where, k.Got, enumerate(k.Want))
	}
	return fmt.Sprintf("Parameter %s: %s.", where, e.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
}

// unknown says that parameters of these names mean nothing here, and which ones do.
func (r Rules) unknown(names []string) string {
	return fmt.Sprintf("Unknown parameter: %s. %s", strings.Join(names, ", "), r.supported())
}

func (r Rules) supported() string {
	var names []string
	for name := range r.properties() {
		if !isPlatforms(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "No parameters are supported here."
	}
	slices.Sort(names)
	return "Supported are: " + strings.Join(names, ", ") + "."
}

// properties are those that the schema describes. A YAML decoder gives inner objects the type of the outer one.
func (r Rules) properties() map[string]any {
	switch properties := r["properties"].(type) {
	case Rules:
		return properties
	case map[string]any:
		return properties
	}
	return nil
}

// defaults are what the schema says of parameters that are not among the given ones.
func (r Rules) defaults(given json.RawMessage) map[string]any {
	var object map[string]json.RawMessage
	_ = json.Unmarshal(given, &object) // nil is nothing given; whatever else was accepted is an object
	missing := map[string]any{}
	for name, described := range r.properties() {
		if value, ok := defaultOf(described); ok && object[name] == nil {
			missing[name] = value
		}
	}
	return missing
}

func defaultOf(described any) (value any, ok bool) {
	switch property := described.(type) {
	case Rules:
		value, ok = property["default"]
	case map[string]any:
		value, ok = property["default"]
	}
	return value, ok
}

func enumerate(values []any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, ", ")
}
