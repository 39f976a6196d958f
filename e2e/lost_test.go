package e2e

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLostRecordIsMadeAnew has a keeper come up that knows nothing of an instance that runs. Its clients do not
// notice, and it can be unbound and deleted.
func TestLostRecordIsMadeAnew(t *testing.T) {
	onEachBreed(t, func(l *life) {
		l.keep()
		session := l.begin()
		was, err := session.Identity(l.t.Context())
		if err != nil {
			l.t.Fatal(err)
		}
		record := filepath.Join(l.data, "keeper", "instances", l.instance+".json")
		if err := os.Remove(record); err != nil {
			l.t.Fatal(err)
		}
		l.killKeeper()
		l.insist(func() error {
			if _, err := os.Stat(record); errors.Is(err, fs.ErrNotExist) {
				return errAgain
			}
			return nil
		})
		l.insist(func() error {
			op := l.outcome("/v3/service_instances?guids=" + l.instance)
			if strings.Contains(op.Description, "does not serve") {
				return errAgain
			}
			return nil
		})
		if is, err := session.Identity(l.t.Context()); err != nil || is != was {
			l.t.Errorf("the session is %s, was %s (%v)", is, was, err)
		}
		if !l.serves() {
			l.t.Error("what was kept is not served any more")
		}
		l.unbind()
		if _, err := session.Identity(l.t.Context()); err == nil {
			l.t.Error("a session outlived its binding")
		}
		l.remove("/v3/service_instances/"+l.instance, "/v3/service_instances?guids="+l.instance)
		l.checkNothingLeft()
	})
}
