package testkit

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Builds returns the directories into which scripts/other-builds has unpacked the builds of an engine, each laid out as
// the root of a machine, the oldest build first. The test is skipped where there are not two: the distribution then has
// one build only.
func Builds(t testing.TB, engine string) (roots []string) {
	t.Helper()
	_, self, _, _ := runtime.Caller(0)
	place := filepath.Join(filepath.Dir(self), "..", "..", "bin", "builds")
	place = cmp.Or(os.Getenv("BACKSTAY_TEST_BUILDS"), place)
	roots, err := filepath.Glob(filepath.Join(place, engine+"-*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(roots) < 2 {
		t.Skipf("scripts/other-builds has not found two builds of %s for %s", engine, place)
	}
	slices.SortFunc(roots, func(a, b string) int { return slices.Compare(numbers(a), numbers(b)) })
	return roots
}

// Install replaces the files below usr by those of a build that [Builds] has returned. While it is at work there is a
// file that dpkg would have put there.
func Install(t testing.TB, root, usr string) {
	t.Helper()
	from := filepath.Join(root, "usr")
	programs, err := filepath.Glob(filepath.Join(from, "lib", "postgresql", "*", "bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(programs, filepath.Join(from, "sbin")) {
		unpacked := filepath.Join(usr, strings.TrimPrefix(dir, from), "mariadbd.dpkg-new")
		if os.MkdirAll(filepath.Dir(unpacked), 0o755) == nil && os.WriteFile(unpacked, nil, 0o644) == nil {
			defer os.Remove(unpacked)
		}
	}
	if out, err := exec.Command("cp", "-a", "--remove-destination", from+"/.", usr).CombinedOutput(); err != nil {
		t.Fatalf("install %s: %v: %s", root, err, out)
	}
}

// numbers returns the numbers in the last part of a path.
func numbers(path string) (list []int) {
	noDigit := func(r rune) bool { return r < '0' || r > '9' }
	for _, digits := range strings.FieldsFunc(filepath.Base(path), noDigit) {
		n, _ := strconv.Atoi(digits)
		list = append(list, n)
	}
	return list
}
