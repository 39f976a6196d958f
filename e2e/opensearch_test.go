package e2e

import (
	"os"
	"strings"
	"testing"
	"time"
)

// opensearchVariable names a directory in which scripts/other-search has put OpenSearch, and clients.
const opensearchVariable = "BACKSTAY_TEST_OPENSEARCH"

// searchPatience is how long anything of OpenSearch may take: its Java machine alone takes ten seconds of a processor.
const searchPatience = 5 * time.Minute

// opensearchFlags are the settings of serve for a script that begins with "# needs opensearch", which is skipped where
// there is none.
func opensearchFlags(t *testing.T, script string) []string {
	t.Helper()
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# needs opensearch\n") {
		return nil
	}
	dir := os.Getenv(opensearchVariable)
	if dir == "" {
		t.Skipf("%s names no directory with OpenSearch: make test-other does", opensearchVariable)
	}
	return []string{"--opensearch", dir}
}
