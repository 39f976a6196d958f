package engine

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// NewestFirst compares installations so that sorting by it puts the newest first.
func NewestFirst(a, b Installation) int { return CompareVersions(b.FullVersion, a.FullVersion) }

// CompareVersions compares versions such as "15.18" number by number. The result is that of [cmp.Compare].
func CompareVersions(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		m, _ := strconv.Atoi(x) // a part that is no number counts as none
		n, _ := strconv.Atoi(y)
		return cmp.Compare(m, n)
	})
}
