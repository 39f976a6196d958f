package market

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/backstay/backstay"
)

func TestMetadataKeys(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	longPrefix := strings.Repeat("a.", 126) + "b" // 253 characters
	for key, want := range map[string]string{
		"env":                    "",
		"E":                      "",
		"9":                      "",
		"a-b_c.d":                "",
		"in":                     "",
		"acme.example/env":       "",
		"ACME.example/env":       "",
		"x.cloudfoundry.org/env": "",
		longPrefix + "/a":        "",
		long:                     "",
		"":                       "key cannot be empty string",
		" ":                      "key cannot be empty string",
		"acme.example/":          "key cannot be empty string",
		long + "a":               "'aaaaaaaa...' is greater than 63 characters",
		"ümlaut":                 "'ümlaut' contains invalid characters",
		"a b":                    "'a b' contains invalid characters",
		"a\nb":                   "'a\nb' contains invalid characters",
		"-a":                     "'-a' starts or ends with invalid characters",
		"a.":                     "'a.' starts or ends with invalid characters",
		"_":                      "'_' starts or ends with invalid characters",
		"a.b/c/d":                "key has more than one '/'",
		"/a":                     "prefix '' must be in valid dns format",
		"acme/a":                 "prefix 'acme' must be in valid dns format",
		"acme..example/a":        "prefix 'acme..example' must be in valid dns format",
		"-acme.example/a":        "prefix '-acme.example' must be in valid dns format",
		"acme.example\n/a":       "prefix 'acme.example\n' must be in valid dns format",
		long + "a.example/a":     "prefix '" + long + "a.example' must be in valid dns format",
		"c." + longPrefix + "/a": "prefix 'c.a.a.a....' is greater than 253 characters",
		"cloudfoundry.org/a":     "prefix 'cloudfoundry.org' is reserved",
		"CloudFoundry.org/a":     "prefix 'cloudfoundry.org' is reserved",
	} {
		if got := wrongKey(key); got != want {
			t.Errorf("%q: %q, want %q", key, got, want)
		}
	}
}

func TestMetadataIsRefused(t *testing.T) {
	t.Parallel()
	value := func(s string) *string { return &s }
	many := func(n int) map[string]*string {
		all := map[string]*string{}
		for i := range n {
			all[fmt.Sprint("k", i)] = value("")
		}
		return all
	}
	for name, c := range map[string]struct {
		update backstay.MetadataUpdate
		want   string // empty: accepted
	}{
		"nothing":         {backstay.MetadataUpdate{}, ""},
		"an empty label":  {backstay.MetadataUpdate{Labels: map[string]*string{"a": value("")}}, ""},
		"a label removed": {backstay.MetadataUpdate{Labels: map[string]*string{"a": nil}}, ""},
		"a label's " +
			"value": {backstay.MetadataUpdate{Labels: map[string]*string{"a": value("b/c")}}, "Metadata label value error: 'b/c' contains invalid characters"},
		"a long " +
			"label": {backstay.MetadataUpdate{Labels: map[string]*string{"a": value(strings.Repeat("b", 64))}}, "Metadata label value error: 'bbbbbbbb...' is greater than 63 characters"},
		"a key " +
			"removed": {backstay.MetadataUpdate{Labels: map[string]*string{"a b": nil}}, "Metadata label key error: 'a b' contains invalid characters"},
		"an annotation's " +
			"key": {backstay.MetadataUpdate{Annotations: map[string]*string{"a b": nil}}, "Metadata annotation key error: 'a b' contains invalid characters"},
		"several mistakes": {
			backstay.MetadataUpdate{
				Labels:      map[string]*string{"b!": value("x"), "a!": value("-"), "fine": value("")},
				Annotations: map[string]*string{"": value("")},
			},
			"Metadata label key error: 'a!' contains invalid characters, " +
				"Metadata label value error: '-' starts or ends with invalid characters, " +
				"Metadata label key error: 'b!' contains invalid characters, " +
				"Metadata annotation key error: key cannot be empty string",
		},
		"any text": {backstay.MetadataUpdate{Annotations: map[string]*string{"a": value("<é> {} \n")}}, ""},
		"a long " +
			"text": {backstay.MetadataUpdate{Annotations: map[string]*string{"a": value(strings.Repeat("é", 5000))}}, ""},
		"too long a " +
			"text": {backstay.MetadataUpdate{Annotations: map[string]*string{"a": value(strings.Repeat("é", 5001))}}, "Metadata annotation value error: 'éééééééé...' is greater than 5000 characters"},
		"many labels": {backstay.MetadataUpdate{Labels: many(50)}, ""},
		"too many " +
			"labels": {backstay.MetadataUpdate{Labels: many(51)}, "Failed to add 51 labels because it would exceed maximum of 50"},
		"many annotations": {backstay.MetadataUpdate{Annotations: many(200)}, ""},
		"too many " +
			"annotations": {backstay.MetadataUpdate{Annotations: many(201)}, "Failed to add 201 annotations because it would exceed maximum of 200"},
		"labels and annotations": {backstay.MetadataUpdate{Labels: many(50), Annotations: many(200)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := checkMetadata(c.update)
			if c.want == "" && err != nil || c.want != "" &&
				(backstay.KindOf(err) != backstay.Invalid || backstay.SentenceOf(err) != c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// accepted is the grammar of keys in one expression, where wrongKey says what is wrong.
var accepted = regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)+/)?[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?$`)

func FuzzMetadataKey(f *testing.F) {
	for _, key := range []string{"a", "acme.example/env", "a b", "/", "a/b/c", "cloudfoundry.org/a", "\xff", "é", "ſ", "ſ.example/a", "a.b/", strings.Repeat("a", 64)} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		prefix, _, prefixed := strings.Cut(key, "/")
		want := accepted.MatchString(
			key,
		) && (!prefixed || !strings.EqualFold(prefix, "cloudfoundry.org") && len(prefix) <= 253)
		got := wrongKey(key)
		if (got == "") != want {
			t.Errorf("%q: %q; acceptable: %t", key, got, want)
		}
		if !utf8.ValidString(got) {
			t.Errorf("%q: the sentence is no text: %q", key, got)
		}
	})
}
