package market

import (
	"reflect"
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

func TestParseSelector(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Selector{
		"a":                       {{Key: "a"}},
		" a ":                     {{Key: "a"}},
		"!a":                      {{Not: true, Key: "a"}},
		"! a":                     {{Not: true, Key: "a"}},
		"a=b":                     {{Key: "a", Values: []string{"b"}}},
		"a == b":                  {{Key: "a", Values: []string{"b"}}},
		"a!=b":                    {{Not: true, Key: "a", Values: []string{"b"}}},
		"a in (b,c)":              {{Key: "a", Values: []string{"b", "c"}}},
		"a in(b)":                 {{Key: "a", Values: []string{"b"}}},
		"a  notin ( b , c )":      {{Not: true, Key: "a", Values: []string{"b", "c"}}},
		"x.example/a=b":           {{Key: "x.example/a", Values: []string{"b"}}},
		"in in (in)":              {{Key: "in", Values: []string{"in"}}},
		"in,notin":                {{Key: "in"}, {Key: "notin"}},
		"a,!b,c=d,e in (f,g),h!=": nil,
		"a,!b,c=d,e in (f,g)": {
			{Key: "a"}, {Not: true, Key: "b"}, {Key: "c", Values: []string{"d"}}, {Key: "e", Values: []string{"f", "g"}},
		},
	} {
		got, err := ParseSelector(text)
		if (err == nil) != (want != nil) || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestSelectorsAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                             "expecting a key, got ''",
		",":                            "expecting a key, got ','",
		"a,":                           "expecting a key, got ''",
		"a,,b":                         "expecting a key, got ','",
		"=a":                           "expecting a key, got '='",
		"!!a":                          "expecting a key, got '!'",
		"a b":                          "expecting a ',' or the end, got 'b'",
		"!a=b":                         "expecting a ',' or the end, got '='",
		"a=":                           "expecting a value, got ''",
		"a=b=c":                        "expecting a ',' or the end, got '='",
		"a===b":                        "expecting a value, got '='",
		"a=(b)":                        "expecting a value, got '('",
		"a in b":                       "expecting a '(', got 'b'",
		"a in":                         "expecting a '(', got ''",
		"a in ()":                      "expecting a value, got ')'",
		"a in (b":                      "expecting a ',' or ')', got ''",
		"a in (b c)":                   "expecting a ',' or ')', got 'c'",
		"a in (b,)":                    "expecting a value, got ')'",
		"a in (b) c":                   "expecting a ',' or the end, got 'c'",
		"a>b":                          "disallowed character(s) at '>b'",
		"a=é":                          "disallowed character(s) at 'é'",
		"a=b/c":                        "'b/c' contains invalid characters",
		"-a":                           "'-a' starts or ends with invalid characters",
		"cloudfoundry.org/a":           "prefix 'cloudfoundry.org' is reserved",
		strings.Repeat("a,", 50) + "a": "more than 50 requirements",
	} {
		_, err := ParseSelector(text)
		if backstay.KindOf(err) != backstay.Invalid || backstay.SentenceOf(err) != "Invalid label_selector value: "+want {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

// String is the selector as it would be written.
func (s Selector) String() string {
	var all []string
	for _, r := range s {
		operator := " in ("
		switch {
		case r.Values == nil && r.Not:
			all = append(all, "!"+r.Key)
			continue
		case r.Values == nil:
			all = append(all, r.Key)
			continue
		case r.Not:
			operator = " notin ("
		}
		all = append(all, r.Key+operator+strings.Join(r.Values, ",")+")")
	}
	return strings.Join(all, ",")
}

func FuzzSelector(f *testing.F) {
	f.Add("a,!b,c=d,e==f,g!=h,i in (j,k),x.example/l notin (m)")
	f.Add("in in (in),notin notin (notin)")
	f.Add("a=\xff,(")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSelector(text)
		if err != nil {
			if backstay.KindOf(err) != backstay.Invalid {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		again, err := ParseSelector(s.String())
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("%q is %+v, written %q, which is %+v, %v", text, s, s, again, err)
		}
	})
}
