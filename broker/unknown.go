package broker

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// unknownKey matches how YAML's decoder tells of a key that the type of ours does not have.
var unknownKey = regexp.MustCompile(`^line (\d+): field (.+) not found in type broker\.(\w+)$`)

// partsOfCatalogs are what a catalog is made of, with what an operator calls each.
var partsOfCatalogs = map[string]struct {
	words string
	part  reflect.Type
}{
	"Catalog":        {"the catalog", reflect.TypeFor[Catalog]()},
	"Offering":       {"an offering", reflect.TypeFor[Offering]()},
	"PlanGrammar":    {"plans", reflect.TypeFor[PlanGrammar]()},
	"Size":           {"a size", reflect.TypeFor[Size]()},
	"Windows":        {"windows", reflect.TypeFor[Windows]()},
	"ParameterRules": {"parameters", reflect.TypeFor[ParameterRules]()},
}

// explain makes sentences of what YAML's decoder has found wrong with a catalog, as far as that is unknown keys.
func explain(err error) error {
	var wrong *yaml.TypeError
	if !errors.As(err, &wrong) {
		return err
	}
	told := make([]string, len(wrong.Errors))
	for i, text := range wrong.Errors {
		told[i] = text
		if m := unknownKey.FindStringSubmatch(text); m != nil {
			told[i] = "line " + m[1] + ": " + aboutKey(m[2], m[3])
		}
	}
	return errors.New(strings.Join(told, "; "))
}

// aboutKey says which key was meant that a part of a catalog does not have, or else which there are.
func aboutKey(key, name string) string {
	of := partsOfCatalogs[name]
	keys := keysOf(of.part)
	nearest := slices.MinFunc(keys, func(a, b string) int { return distance(key, a) - distance(key, b) })
	if distance(key, nearest) <= (len(key)+1)/2 {
		return fmt.Sprintf("%q is no key of %s; %q is meant, perhaps", key, of.words, nearest)
	}
	return fmt.Sprintf("%q is no key of %s; there are: %s", key, of.words, strings.Join(keys, ", "))
}

// keysOf are the keys that YAML fills a type from.
func keysOf(part reflect.Type) (keys []string) {
	for i := range part.NumField() {
		keys = append(keys, part.Field(i).Tag.Get("yaml"))
	}
	return keys
}

// distance is how many letters have to be put in, left out or replaced to come from one word to the other
// (Levenshtein's).
func distance(from, to string) int {
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(from) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(to) {
			replaced := corner
			if from[i] != to[j] {
				replaced++
			}
			corner = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(to)]
}
