package broker

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

// schemaURL names a schema inside its compiler; nothing is ever fetched.
const schemaURL = "backstay:parameters"

func compile(rules map[string]any) (*jsonschema.Schema, error) {
	encoded, err := json.Marshal(schemaOf(rules))
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

// checkParameters validates what a user gave with -c against the rules; nil is nothing given.
func checkParameters(rules map[string]any, given json.RawMessage) error {
	if given == nil {
		return nil
	}
	schema, err := compile(rules)
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
		return backstay.Errorf(backstay.Invalid, "%s", explain(rules, wrong))
	}
	return err
}

// explain says what is wrong with parameters: each leaf of the validation is one mistake.
func explain(rules map[string]any, e *jsonschema.ValidationError) string {
	var sentences []string
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 {
			sentences = append(sentences, mistake(rules, e))
		}
		for _, c := range e.Causes {
			walk(c)
		}
	}
	walk(e)
	slices.Sort(sentences)
	return strings.Join(slices.Compact(sentences), " ")
}

func mistake(rules map[string]any, e *jsonschema.ValidationError) string {
	where := strings.Join(e.InstanceLocation, ".")
	if where == "" {
		where = "parameters"
	}
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		return fmt.Sprintf("Unknown parameter: %s. %s", strings.Join(k.Properties, ", "), known(rules))
	case *kind.Type:
		return fmt.Sprintf("Parameter %s is of the wrong type: it is %s and must be %s.", where, k.Got, strings.Join(k.Want, " or "))
	case *kind.Enum:
		return fmt.Sprintf("Parameter %s: %v is not supported. Supported are: %s.", where, k.Got, list(k.Want))
	}
	return fmt.Sprintf("Parameter %s: %s.", where, e.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
}

func known(rules map[string]any) string {
	properties, _ := schemaOf(rules)["properties"].(map[string]any)
	if len(properties) == 0 {
		return "No parameters are supported here."
	}
	names := make([]string, 0, len(properties))
	for name := range properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return "Supported are: " + strings.Join(names, ", ") + "."
}

func list(values []any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, ", ")
}
