package archtest

import (
	"strings"
	"testing"
)

// floors is the picture of the house. A room is a directory at the top, or one below a name that ends
// in "/*". Imports go from a higher floor to a lower one, or stay in the room.
var floors = map[string]int{
	"e2e":     6, // journeys: only tests
	"cmd/*":   5, // wiring
	"tools/*": 5, // what building needs

	"cfapi": 4, "osb": 4, "tunnel": 4, "plugins": 4, // doors
	"state": 4, "backend/*": 4, "engine/*": 4, "keeper": 4, // adapters

	"market": 3, "broker": 3, "uaa": 3, "tenant": 3, // promises: what we owe, how we pay, who asks
	"backup": 2, "engine/lag": 2, "engine/drill": 2, // pure decisions
	"engine/pgserver": 2, "engine/door": 2, "keeper/wire": 2, // what several adapters stand on
	"backend": 1, "engine": 1, "pki": 1, "endpoint": 1, "volume": 1, "cgroup": 1, // contracts and instruments
	"repository": 1, "window": 1,
	"": 0, // words
}

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			if to, ok := ours(imported); ok {
				if reason := forbidden(p.path(), to); reason != "" {
					t.Errorf("%s imports %s: %s", name(p.path()), name(to), reason)
				}
			}
		}
	}
}

func TestEveryPackageHasAFloor(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if _, _, ok := place(p.path()); !ok && !isKit(p.path()) {
			t.Errorf("%s is on no floor: give it one here, and in CONTRIBUTING.md", p.path())
		}
	}
}

func TestForbidden(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		from, to string
		allowed  bool
	}{
		{"cmd/backstay", "keeper", true},
		{"cmd/backstay", "", true},
		{"keeper", "backend", true},
		{"keeper", "engine", true},
		{"keeper", "keeper/wire", true},
		{"backend/local", "keeper/wire", true},
		{"keeper/wire", "backend", true},
		{"keeper/instance", "keeper/node", true},
		{"volume", "", true},
		{"keeper", "internal/atomicfile", true},
		{"engine/postgres", "engine", true},
		{"broker/brokertest", "internal/testkit", true},
		{"market/markettest", "state", true},
		{"internal/seal", "", true},
		{"internal/seal", "internal/atomicfile", true},
		{"keeper", "backend/local", false},
		{"backend/local", "keeper/node", false},
		{"keeper/wire", "keeper/node", false},
		{"keeper", "engine/postgres", false},
		{"market", "broker", false},
		{"market", "state", false},
		{"engine", "backend", false},
		{"engine", "engine/postgres", false},
		{"market", "uaa", false},
		{"cmd/backstay", "cmd/cf-conduit", false},
		{"", "internal/step", false},
		{"internal/seal", "pki", false},
		{"internal/testkit", "state", false},
		{"keeper", "engine/enginetest", false},
		{"cmd/backstay", "backend/backendtest", false},
		{"cmd/backstay", "internal/testkit", false},
		{"nowhere", "", false},
	} {
		if reason := forbidden(tc.from, tc.to); (reason == "") != tc.allowed {
			t.Errorf("%s to %s: allowed %t (%s), want %t", tc.from, tc.to, reason == "", reason, tc.allowed)
		}
	}
}

// forbidden returns why the package at path from may not import the one at path to, or "".
func forbidden(from, to string) string {
	if isForTests(to) && !isForTests(from) {
		return "only tests may"
	}
	fromRoom, fromFloor, fromOK := place(from)
	toRoom, toFloor, toOK := place(to)
	switch {
	case isKit(from) && (isKit(to) || to == ""):
		return ""
	case isKit(from):
		return "kit knows no room but the dictionary"
	case isForTests(from): // as tests do, it may put rooms together
		return ""
	case !fromOK || !isKit(to) && !toOK:
		return "one of them is on no floor"
	case from == "":
		return "the dictionary imports nothing of ours"
	case isKit(to) || fromRoom == toRoom || toFloor < fromFloor:
		return ""
	}
	return "imports point strictly down"
}

// place returns the room that a package is in and its floor.
func place(path string) (room string, floor int, ok bool) {
	if floor, ok := floors[path]; ok {
		return path, floor, true
	}
	top, rest, below := strings.Cut(path, "/")
	if floor, ok := floors[top+"/*"]; ok && below {
		second, _, _ := strings.Cut(rest, "/")
		return top + "/" + second, floor, true
	}
	floor, ok = floors[top]
	return top, floor, ok
}

// isKit reports whether a package is under internal/, which all floors stand on.
func isKit(path string) bool { return strings.HasPrefix(path, "internal/") }

// isForTests reports whether a package exists for tests: a contract's conformance suite, or test kit.
func isForTests(path string) bool {
	return strings.HasSuffix(path, "test") || path == "internal/testkit"
}

func name(path string) string {
	if path == "" {
		return "the root package"
	}
	return path
}
