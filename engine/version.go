package engine

import (
	"cmp"
	"slices"
	"strings"
)

// NewestFirst compares installations so that sorting by it puts the newest first.
func NewestFirst(a, b Installation) int { return CompareVersions(b.FullVersion, a.FullVersion) }

// CompareVersions compares the numbers of versions such as "15.18" one by one, also those that stand behind words. The
// result is that of [cmp.Compare].
func CompareVersions(a, b string) int {
	return slices.CompareFunc(numbersOf(a), numbersOf(b), func(x, y string) int {
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
	})
}

// numbersOf returns the numbers of a version without leading zeros: of two, the longer one is the greater.
func numbersOf(version string) []string {
	numbers := strings.FieldsFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	for i, n := range numbers {
		numbers[i] = strings.TrimLeft(n, "0")
	}
	return numbers
}

// Foundation returns what the product of a full version stands on, with that one's major version: "PostgreSQL 18" of
// "2.7.0 on PostgreSQL 18.6 with DocumentDB 1.0-0". It is empty for a product that stands on nothing.
func Foundation(full string) string {
	_, below, _ := strings.Cut(full, " on ")
	below, _, _ = strings.Cut(below, " with ")
	behindName := strings.LastIndex(below, " ") + 1
	major, _, _ := strings.Cut(below[behindName:], ".")
	return below[:behindName] + major
}

// Succeeds reports whether the build of one full version is newer than that of another one and serves its data. Both
// are of one version, as plans name it.
func Succeeds(full, before string) bool {
	return CompareVersions(full, before) > 0 && Foundation(full) == Foundation(before)
}
