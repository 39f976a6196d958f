package market

import (
	"strings"

	"github.com/backstay/backstay"
)

// Selector narrows a list to what has certain labels; it holds where all its requirements hold. Nil does
// not narrow.
type Selector []Requirement

// Requirement is one condition on a label: that the key is there, with one of the values unless they are
// nil. Not turns the whole into its opposite, so that an absent key has none of the values.
type Requirement struct {
	Not    bool
	Key    string
	Values []string
}

// maxRequirements bounds what a request can make the database do. Nobody writes that many.
const maxRequirements = 50

// ParseSelector reads a label selector as Cloud Foundry writes it: requirements separated by commas, each one
// of a, !a, a=b, a==b, a!=b, a in (b,c), a notin (b,c).
func ParseSelector(text string) (Selector, error) {
	words, err := selectorWords(text)
	if err != nil {
		return nil, err
	}
	p := selectorParser{words}
	var all Selector
	for {
		r, err := p.requirement()
		if err != nil {
			return nil, err
		}
		if all = append(all, r); len(all) > maxRequirements {
			return nil, badSelector("more than %d requirements", maxRequirements)
		}
		switch next := p.take(); next {
		case "":
			return all, nil
		case ",":
		default:
			return nil, badSelector("expecting a ',' or the end, got '%s'", next)
		}
	}
}

func badSelector(format string, args ...any) error {
	return backstay.Errorf(backstay.Invalid, "Invalid label_selector value: "+format, args...)
}

// selectorWords splits a selector into operators and words, without the spaces between them.
func selectorWords(text string) (words []string, err error) {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimLeft(text, " ") {
		size := strings.IndexFunc(text, func(r rune) bool {
			return !alphanumeric(r) && !strings.ContainsRune("-_./", r)
		})
		switch {
		case size < 0:
			size = len(text)
		case size > 0:
		case strings.HasPrefix(text, "==") || strings.HasPrefix(text, "!="):
			size = 2
		case strings.ContainsRune("=!(),", rune(text[0])):
			size = 1
		default:
			return nil, badSelector("disallowed character(s) at '%s'", printable(text[:min(len(text), 30)]))
		}
		words = append(words, text[:size])
		text = text[size:]
	}
	return words, nil
}

// selectorParser takes words one after the other; after the last there is the empty one.
type selectorParser struct{ words []string }

func (p *selectorParser) take() string {
	word := p.next()
	p.words = p.words[min(1, len(p.words)):]
	return word
}

func (p *selectorParser) next() string {
	if len(p.words) == 0 {
		return ""
	}
	return p.words[0]
}

func (p *selectorParser) requirement() (r Requirement, err error) {
	if r.Not = p.next() == "!"; r.Not {
		p.take()
	}
	if r.Key, err = p.word("a key"); err != nil {
		return r, err
	}
	if wrong := wrongKey(r.Key); wrong != "" {
		return r, badSelector("%s", wrong)
	}
	if r.Not {
		return r, nil
	}
	switch operator := p.next(); operator {
	case "=", "==", "!=":
		p.take()
		r.Not = operator == "!="
		value, err := p.value()
		r.Values = []string{value}
		return r, err
	case "in", "notin":
		p.take()
		r.Not = operator == "notin"
		r.Values, err = p.set()
		return r, err
	}
	return r, nil
}

// word takes a word that is no operator.
func (p *selectorParser) word(what string) (string, error) {
	word := p.take()
	if word == "" || strings.ContainsAny(word, "=!(),") {
		return "", badSelector("expecting %s, got '%s'", what, word)
	}
	return word, nil
}

func (p *selectorParser) value() (string, error) {
	value, err := p.word("a value")
	if err != nil {
		return "", err
	}
	if wrong := wrongValue(value); wrong != "" {
		return "", badSelector("%s", wrong)
	}
	return value, nil
}

func (p *selectorParser) set() (values []string, err error) {
	if open := p.take(); open != "(" {
		return nil, badSelector("expecting a '(', got '%s'", open)
	}
	for {
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		values = append(values, value)
		switch end := p.take(); end {
		case ")":
			return values, nil
		case ",":
		default:
			return nil, badSelector("expecting a ',' or ')', got '%s'", end)
		}
	}
}
