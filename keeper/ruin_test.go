package keeper_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/instance"
	"github.com/backstay/backstay/keeper/keepertest"
)

// ruinLimit is how long a busy machine may take until the standby serves in the place of a primary that runs and has
// nothing to serve. On a quiet one that is five seconds.
const ruinLimit = 20 * time.Second

// dataIn is the data directory of the node of that name.
func dataIn(c keeper.Config, id backstay.InstanceID, node string) string {
	home := string(instance.Home(id, instance.Place(strings.TrimPrefix(node, "1"))))
	return filepath.Join(c.DataDir, "instances", home, "data")
}

// wantTakenOver returns when the other node than that one serves, and fails if that takes too long.
func wantTakenOver(t *testing.T, b *local.Backend, spec backend.Spec, former, why string) {
	t.Helper()
	struck := time.Now()
	s := untilWithin(t, ruinLimit, b, spec.Instance, func(s backend.Status) bool {
		return s.Phase == backend.Running && s.Nodes[0].Name != former
	})
	if s.Failover == nil || !strings.Contains(s.Failover.Why, why) {
		t.Errorf("users are told of the failover %+v, want a word of %q", s.Failover, why)
	}
	t.Logf("the standby serves after %v: %+v", time.Since(struck), s.Failover)
}

// TestPrimarysDataIsRemoved under a primary that lives, and under its clients: it may go on for long with what it has in
// memory, or refuse everybody, but nothing that it writes is kept for certain. The standby takes over with what was
// acknowledged before, and the former is made anew.
func TestPrimarysDataIsRemoved(t *testing.T) {
	onEachPair(t, func(t *testing.T, p product, c keeper.Config) {
		b, _ := keepertest.Run(t, c)
		spec, noted, stop := newPair(t, b, p)
		mustBeWritten(t, noted)
		primary := until(t, b, spec.Instance, isProtected).Nodes[0].Name
		struck := time.Now()
		if err := os.RemoveAll(dataIn(c, spec.Instance, primary)); err != nil {
			t.Log(err) // the server makes files meanwhile
		}
		wantTakenOver(t, b, spec, primary, "")
		taken := time.Now()
		mustBeWritten(t, noted)
		t.Logf("%v without an acknowledgement", noted.longest(struck))
		switch p.engine {
		case "postgres":
			// A session that goes on with a segment of the log that is removed makes it anew. The standby is sent the
			// zeros before that, and acknowledges them, since it reads only later what they are.
			noted.doubt(struck, taken)
		case "redis":
			noted.doubt(struck.Add(-lastMoment), struck.Add(ruinLimit))
		}
		untilWithin(t, 2*time.Minute, b, spec.Instance, isProtected)
		stop()
	})
}

// TestDamagedPrimaryIsFoundAtAStart: PostgreSQL starts with a catalog that cannot be read, and refuses each login then.
// The standby takes over, which is started for that.
func TestDamagedPrimaryIsFoundAtAStart(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	p, c := products[0], keepertest.Config(t, 4)
	b, stopKeeping := keepertest.Run(t, c)
	spec, noted, stop := newPair(t, b, p)
	mustBeWritten(t, noted)
	stop()
	s := until(t, b, spec.Instance, isProtected)
	catalog := catalogOf(t, b, spec.Instance, dataIn(c, spec.Instance, s.Nodes[0].Name))
	stopKeeping()
	stopEngines(t, c)
	scramble(t, catalog)
	b, _ = keepertest.Run(t, c)
	wantTakenOver(t, b, spec, s.Nodes[0].Name, "damaged")
	untilWithin(t, 2*time.Minute, b, spec.Instance, isProtected)
	checkNoted(t, p, mustCredentials(t, b, spec.Instance), noted)
}

// TestDamagedSingleNodeIsLeft running: nothing is won by its end. What is wrong with it is told, and it serves again once
// that is mended.
func TestDamagedSingleNodeIsLeft(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	c := keepertest.Config(t, 1)
	b, _ := keepertest.Run(t, c)
	spec := specOf(t, products[0])
	mustReach(t, b, spec)
	data := dataIn(c, spec.Instance, "1")
	before := pidsIn(c, string(spec.Instance))
	mapping := filepath.Join(data, "global", "pg_filenode.map")
	mustRename(t, mapping, mapping+".away")
	s := until(t, b, spec.Instance, failing)
	if !strings.Contains(s.Message, "damaged") || !strings.Contains(s.Message, "pg_filenode.map") {
		t.Errorf("users are told %q", s.Message)
	}
	time.Sleep(5 * time.Second)
	if now := pidsIn(c, string(spec.Instance)); len(now) != 1 || !slices.Equal(now, before) {
		t.Errorf("process %v was ended, and is %v now", before, now)
	}
	mustRename(t, mapping+".away", mapping)
	until(t, b, spec.Instance, running)
}

// catalogOf is the file of the table of tables.
func catalogOf(t *testing.T, b *local.Backend, id backstay.InstanceID, data string) string {
	t.Helper()
	w, err := products[0].open(t.Context(), mustCredentials(t, b, id))
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	var path string
	row := w.(postgresWriter).QueryRow(t.Context(), "SELECT pg_relation_filepath('pg_class')")
	if err := row.Scan(&path); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(data, path)
}

// scramble has random bytes in the place of those of a file.
func scramble(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		_, _ = rand.Read(text) // it never fails
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(fmt.Errorf("damage %s: %w", path, err))
	}
}
