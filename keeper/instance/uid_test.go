package instance

import (
	"fmt"
	"testing"

	"github.com/backstay/backstay"
)

func TestNewUID(t *testing.T) {
	t.Parallel()
	taken := map[uint32]bool{}
	for i := range 2000 {
		id := backstay.InstanceID(fmt.Sprint(i))
		uid := NewUID(id, taken)
		if taken[uid] || !isOurUID(uid) {
			t.Fatalf("%s gets %d", id, uid)
		}
		if again := NewUID(id, taken); again != uid {
			t.Fatalf("%s gets %d and then %d", id, uid, again)
		}
		taken[uid] = true
		if next := NewUID(id, taken); next == uid {
			t.Fatalf("%s gets %d though it is taken", id, uid)
		}
	}
}
