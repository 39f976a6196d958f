// Package settings is how a program is told what to go by: by flags, by a file, by defaults, in that order.
// One table says all that there is to know of each setting, and everything else is made from it: the flags,
// what the file may say, help, what is in force, and the reference page. Every mistake is told, not the first.
//
// It knows nothing of what the settings are for.
package settings

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Setting is one thing that can be told, by a flag and in the file under the same name. C is what it is read
// into.
type Setting[C any] struct {
	Name  string
	Value string // what stands for its value in help: "HOST:PORT"; empty is a switch, which is true or false
	Unit  string // what a value is, in words: "a number of days from 1 to 36500"
	Help  string // what it is for: a line or a few, without a full stop
	More  string // further sentences, for the reference alone

	Default   string                 // its value when nobody gives one; empty: it has none
	DefaultBy func() (string, error) // the same where it depends; Otherwise says on what
	Otherwise string

	List bool                     // several values with commas between them, which may be a list in the file
	Show func(text string) string // what may be seen of a value that can have a secret in it; nil: all
	// Read takes a value over. Its error goes on with a sentence that begins with name and value: "is not …".
	Read func(c *C, text string) error
}

// Section is what belongs together among the settings, with a title and what is true of all of them.
type Section[C any] struct {
	Title, Intro string
	Settings     []Setting[C]
}

// Table is all settings of a program.
type Table[C any] []Section[C]

func (t Table[C]) all() []Setting[C] {
	var all []Setting[C]
	for _, section := range t {
		all = append(all, section.Settings...)
	}
	return all
}

func (t Table[C]) find(name string) (Setting[C], bool) {
	all := t.all()
	i := slices.IndexFunc(all, func(s Setting[C]) bool { return s.Name == name })
	if i < 0 {
		return Setting[C]{}, false
	}
	return all[i], true
}

// Given is a value as somebody wrote it, and where: "default", "flag", or "FILE:LINE".
type Given struct{ Text, From string }

// Format writes where the value comes from, and not the value, which may have a secret in it.
func (g Given) Format(f fmt.State, _ rune) { io.WriteString(f, "from "+g.From) }

// where a value comes from, if it is not from a file.
const (
	FromDefault = "default"
	FromFlag    = "flag"
)

// Values are what was given, by the settings' names.
type Values map[string]Given

// Mistakes are sentences, one for each thing that is wrong.
type Mistakes []string

// Error is the mistake, or all of them, one in a line.
func (m Mistakes) Error() string {
	if len(m) == 1 {
		return m[0]
	}
	return fmt.Sprintf("There are %d mistakes in the settings:\n  %s", len(m), strings.Join(m, "\n  "))
}

// Flags defines the flags of the named settings, or of all if none is named. Parsing them puts what they say
// into values.
func (t Table[C]) Flags(fs *flag.FlagSet, values Values, names ...string) {
	for _, s := range t.named(names) {
		take := func(text string) error {
			values[s.Name] = Given{text, FromFlag}
			return nil
		}
		if s.Value == "" {
			fs.BoolFunc(s.Name, "", take)
		} else {
			fs.Func(s.Name, "", take)
		}
	}
}

// named are the settings of those names, in the table's order; all, if there are none.
func (t Table[C]) named(names []string) []Setting[C] {
	return slices.DeleteFunc(t.all(), func(s Setting[C]) bool {
		return len(names) > 0 && !slices.Contains(names, s.Name)
	})
}

// Read reads into c what each setting is by the first of the layers that has it, else by its default. It
// returns what is in force.
func (t Table[C]) Read(c *C, layers ...Values) (Values, Mistakes) {
	inForce, mistakes := Values{}, Mistakes(nil)
	for _, s := range t.all() {
		given, err := s.given(layers)
		if err == nil && given == (Given{}) {
			continue
		}
		if err == nil {
			err = s.read(c, given.Text)
		}
		if err != nil {
			mistakes = append(mistakes, s.mistake(given, err))
		}
		inForce[s.Name] = given
	}
	return inForce, mistakes
}

// given is the setting's value, which is the zero Given if it has none.
func (s Setting[C]) given(layers []Values) (Given, error) {
	for _, layer := range layers {
		if given, ok := layer[s.Name]; ok {
			return given, nil
		}
	}
	if s.DefaultBy != nil {
		text, err := s.DefaultBy()
		return Given{text, FromDefault}, err
	}
	if s.Default == "" {
		return Given{}, nil
	}
	return Given{s.Default, FromDefault}, nil
}

func (s Setting[C]) read(c *C, text string) error {
	if text == "" && s.Default == "" && s.DefaultBy == nil {
		return nil // as good as not given
	}
	return s.Read(c, text)
}

// mistake is the sentence about a value that cannot be.
func (s Setting[C]) mistake(given Given, err error) string {
	switch given.From {
	case FromFlag:
		return fmt.Sprintf("--%s %q %v.", s.Name, s.shown(given.Text), err)
	case FromDefault, "":
		return fmt.Sprintf("--%s is not given, and its default %v.", s.Name, err)
	}
	return fmt.Sprintf("%s: %s %q %v.", given.From, s.Name, s.shown(given.Text), err)
}

func (s Setting[C]) shown(text string) string {
	if s.Show == nil {
		return text
	}
	return s.Show(text)
}
