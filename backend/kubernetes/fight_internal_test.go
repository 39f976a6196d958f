package kubernetes

import (
	"strconv"
	"testing"
	"time"
)

// TestPutAgain is how often, in an hour, an object is applied that is not as it is wanted.
func TestPutAgain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		undone     bool // somebody undoes at once what is applied
		gone       bool // somebody deletes it at once
		fewer      int
		more       int
		afterwards time.Duration // until it is applied again then
	}{
		"undone at once":                  {undone: true, fewer: 15, more: 30, afterwards: 5 * time.Minute},
		"deleted at once":                 {gone: true, fewer: 15, more: 30, afterwards: 5 * time.Minute},
		"as it was, since the watch lags": {fewer: 3000, more: 3700, afterwards: unseen},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
			b := newFakeCluster().backend(t)
			b.Now = func() time.Time { return now }
			in := b.instance(anId)
			there, wanted := aCluster("1"), aCluster("2")
			if tc.gone {
				there = nil
			}
			times, last := 0, now
			for end := now.Add(time.Hour); now.Before(end); now = now.Add(tight) {
				if tc.undone {
					there.SetResourceVersion(strconv.Itoa(times))
				}
				if in.mayPut(wanted) {
					in.notePut(wanted, there)
					times, last = times+1, now
				}
			}
			if times < tc.fewer || times > tc.more {
				t.Errorf("it was applied %d times", times)
			}
			for now = last; !in.mayPut(wanted); {
				now = now.Add(tight)
			}
			if waits := now.Sub(last); waits != tc.afterwards {
				t.Errorf("it is applied again after %v", waits)
			}
			if !in.mayPut(aCluster("3")) {
				t.Error("another edition of it has to wait")
			}
		})
	}
}
