package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mongodbVariable names a directory in which scripts/other-mongodb has put FerretDB with DocumentDB, and clients.
const mongodbVariable = "BACKSTAY_TEST_MONGODB"

// mongodbFlags are the settings of serve for a script that begins with "# needs mongodb", which is skipped where there
// is none.
func mongodbFlags(t *testing.T, script string) []string {
	t.Helper()
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# needs mongodb\n") {
		return nil
	}
	dir := os.Getenv(mongodbVariable)
	if dir == "" {
		t.Skipf("%s names no directory with FerretDB and DocumentDB: make test-other does", mongodbVariable)
	}
	return []string{"--mongodb", filepath.Join(dir, "usr")}
}
