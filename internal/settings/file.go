package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"gopkg.in/yaml.v3"
)

// ReadFile reads the YAML file at path, a mapping of settings' names to their values. What is not one of them,
// or stands there twice, is a mistake, as is a secret in a file that others than its owner can read.
func (t Table[C]) ReadFile(path string) (Values, Mistakes) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, Mistakes{fmt.Sprintf("The file of settings cannot be read: %v.", err)}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, Mistakes{fmt.Sprintf("The file of settings cannot be read: %v.", err)}
	}
	values, mistakes := t.parse(path, text)
	if info.Mode().Perm()&0o077 != 0 {
		mistakes = append(mistakes, t.openSecrets(values, info.Mode())...)
	}
	return values, mistakes
}

func (t Table[C]) openSecrets(values Values, mode fs.FileMode) (mistakes Mistakes) {
	for _, s := range t.all() {
		if given, ok := values[s.Name]; ok && s.shown(given.Text) != given.Text {
			mistakes = append(mistakes, fmt.Sprintf("%s: %s has a secret in it, and others than you can read the file, "+
				"whose mode is %04o: make that 0600.", given.From, s.Name, mode.Perm()))
		}
	}
	return mistakes
}

// parse reads the text of the file that name is said of.
func (t Table[C]) parse(name string, text []byte) (Values, Mistakes) {
	values := Values{}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return values, nil
	} else if err != nil {
		return nil, Mistakes{fmt.Sprintf("%s is no YAML: %s.", name, strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, Mistakes{name + " must be one document of YAML, not several."}
	}
	mapping := document.Content[0]
	if mapping.Tag == "!!null" {
		return values, nil
	}
	if mapping.Kind != yaml.MappingNode {
		return nil, Mistakes{fmt.Sprintf("%s:%d: settings must stand there, each as in \"NAME: VALUE\".", name,
			mapping.Line)}
	}
	var mistakes Mistakes
	for i := 0; i < len(mapping.Content); i += 2 {
		if mistake := t.take(values, name, mapping.Content[i], mapping.Content[i+1]); mistake != "" {
			mistakes = append(mistakes, mistake)
		}
	}
	return values, mistakes
}

// take puts one entry of the file into values, or returns why not.
func (t Table[C]) take(values Values, file string, key, value *yaml.Node) (mistake string) {
	place := fmt.Sprintf("%s:%d", file, key.Line)
	s, known := t.find(key.Value)
	if !known {
		return fmt.Sprintf("%s: there is no setting %q%s.", place, key.Value, t.suggestion(key.Value))
	}
	if earlier, twice := values[s.Name]; twice {
		return fmt.Sprintf("%s: %s stands at %s already.", place, s.Name, earlier.From)
	}
	text, ok := s.scalar(value)
	if !ok {
		return fmt.Sprintf("%s: %s must be %s.", place, s.Name, s.Unit)
	}
	if value.Tag != "!!null" {
		values[s.Name] = Given{text, place}
	}
	return ""
}

// scalar is the value as a flag would say it.
func (s Setting[C]) scalar(value *yaml.Node) (text string, ok bool) {
	if value.Kind == yaml.ScalarNode {
		return value.Value, true
	}
	if value.Kind != yaml.SequenceNode || !s.List {
		return "", false
	}
	var parts []string
	for _, part := range value.Content {
		if part.Kind != yaml.ScalarNode {
			return "", false
		}
		parts = append(parts, part.Value)
	}
	return strings.Join(parts, ","), true
}

// suggestion names the setting that was meant, if its name differs in little.
func (t Table[C]) suggestion(name string) string {
	plain := strings.NewReplacer("_", "", "-", "").Replace
	for _, s := range t.all() {
		if strings.EqualFold(plain(s.Name), plain(name)) {
			return ": it is written " + s.Name
		}
	}
	return ""
}
