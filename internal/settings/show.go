package settings

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Help lists the flags of the named settings, or of all if none is named.
func (t Table[C]) Help(names ...string) string {
	var b strings.Builder
	for _, s := range t.named(names) {
		flag := "--" + strings.TrimSpace(s.Name+" "+s.Value)
		lines := wrap(s.Help+s.standard(), helpWidth)
		fmt.Fprintf(&b, "  %-*s %s\n", flagWidth, flag, lines[0])
		for _, line := range lines[1:] {
			fmt.Fprintf(&b, "  %-*s %s\n", flagWidth, "", line)
		}
	}
	return b.String()
}

const flagWidth, helpWidth = 28, 76

// standard is the default, in brackets.
func (s Setting[C]) standard() string {
	switch {
	case s.Otherwise != "":
		return " (default: " + s.Otherwise + ")"
	case s.Default != "" && s.Value != "":
		return " (default " + s.Default + ")"
	}
	return ""
}

// wrap breaks a text into lines of no more than width characters.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}

// Write writes the values in the form of the file, each with where it comes from, and without secrets. What
// has no value stands there as a comment.
func (t Table[C]) Write(w io.Writer, values Values) error {
	var b bytes.Buffer
	for i, section := range t {
		fmt.Fprintf(&b, "%s# %s\n", strings.Repeat("\n", min(i, 1)), section.Title)
		for _, s := range section.Settings {
			given, ok := values[s.Name]
			if !ok {
				fmt.Fprintf(&b, "# %s: %s\n", s.Name, s.Value)
				continue
			}
			text, from := s.shown(given.Text), given.From
			if text != given.Text {
				from += ", without its secret"
			}
			line, err := s.line(text)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%-50s # %s\n", line, from)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (s Setting[C]) line(text string) (string, error) {
	value := &yaml.Node{Kind: yaml.ScalarNode, Value: text}
	if s.List {
		value = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for part := range strings.SplitSeq(text, ",") {
			value.Content = append(value.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: part})
		}
	}
	line, err := yaml.Marshal(map[string]*yaml.Node{s.Name: value})
	return strings.TrimSuffix(string(line), "\n"), err
}

// Reference is the page of all settings, in Markdown, without its title.
func (t Table[C]) Reference() string {
	var b strings.Builder
	for _, section := range t {
		fmt.Fprintf(&b, "\n## %s\n", section.Title)
		paragraph(&b, section.Intro)
		for _, s := range section.Settings {
			fmt.Fprintf(&b, "\n### `%s`\n", s.Name)
			paragraph(&b, sentence(s.Help)+" "+s.More)
			paragraph(&b, fmt.Sprintf("Value: %s. Default: %s.", s.Unit, s.standardSaid()))
		}
	}
	return b.String()
}

func (s Setting[C]) standardSaid() string {
	switch {
	case s.Otherwise != "":
		return s.Otherwise
	case s.Default != "":
		return "`" + s.Default + "`"
	}
	return "none"
}

func sentence(text string) string {
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func paragraph(b *strings.Builder, text string) {
	if text = strings.TrimSpace(text); text != "" {
		fmt.Fprintf(b, "\n%s\n", strings.Join(wrap(text, 110), "\n"))
	}
}

// Args is the command line that says again what is in force of the named settings, none of them a switch.
func (t Table[C]) Args(values Values, names ...string) (args []string) {
	for _, s := range t.all() {
		if given, ok := values[s.Name]; ok && slices.Contains(names, s.Name) {
			args = append(args, "--"+s.Name, given.Text)
		}
	}
	return args
}
