package engine_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/backstay/backstay/engine"
)

// TestBackupsOfOneSecond have names of their own, which begin with the second in UTC.
func TestBackupsOfOneSecond(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^20261127T210255Z-[a-z2-7]{6}$`)
	second := time.Date(2026, 11, 27, 22, 2, 55, 123, time.FixedZone("", 3600))
	seen := map[string]bool{}
	for range 100 {
		id := engine.NewBackupID(second)
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("it is named %s; so far there are %d", id, len(seen))
		}
		seen[id] = true
	}
}
