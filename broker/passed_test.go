package broker_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/engine"
)

// TestWhoGetsAnOlderBackupIsTold: with the operation, whether the damage of the newer one is found by it or was known
// before. Who gets what they have asked for is told nothing.
func TestWhoGetsAnOlderBackupIsTold(t *testing.T) {
	t.Parallel()
	h, repository := backedUpHouse(t)
	h.run(t)
	r := h.mustMake(t)
	for range 2 {
		if op := h.updateMade(t, r, `{"backup": "now"}`); op.State != backstay.Succeeded {
			t.Fatalf("the backup ended as %+v", op)
		}
	}
	kept, err := h.Backends[broker.Local].(backend.Archive).Backups(t.Context(), r.InstanceID)
	must(t, err)
	older, newest := kept.List[len(kept.List)-2], kept.List[len(kept.List)-1]
	before := engine.WholeSecond(newest.Ended).Add(time.Second)
	passed(t, before) // what makes up for the damage is newer
	copied := func() backstay.Operation {
		t.Helper()
		c := brokertest.NewRequest(t, h)
		c.Parameters = fmt.Appendf(nil, `{"restore_from_latest_snapshot_of": %q, "restore_from_latest_snapshot_before": %q}`,
			r.InstanceID, before.Format(time.DateTime))
		_, err := h.Provision(t.Context(), c)
		must(t, err)
		op := h.outcome(t, c.InstanceID, "")
		if op.State != backstay.Succeeded {
			t.Fatalf("the copy ended as %+v", op)
		}
		_, err = h.Deprovision(t.Context(), backstay.DeprovisionRequest{InstanceID: c.InstanceID})
		must(t, err)
		h.mustEnd(t, c.InstanceID)
		return op
	}
	if op := copied(); op.Notice != "" || strings.Contains(op.Description, "damaged") {
		t.Errorf("where nothing is damaged, %+v is told", op)
	}
	spoil(t, filepath.Join(repository, string(r.InstanceID)), newest.ID)
	said := func(b backstay.Backup) string { return engine.WholeSecond(b.Ended).Format(time.DateTime) }
	want := fmt.Sprintf("The backup of %s is damaged. That of %s is restored instead.", said(newest), said(older))
	for _, known := range []bool{false, true} {
		if op := copied(); op.Notice != want || !strings.Contains(op.Description, want) {
			t.Errorf("where the damage was known before (%t), %+v is told, want %q", known, op, want)
		}
	}
}

// spoil flips a bit of each file of a backup.
func spoil(t *testing.T, dir, id string) {
	t.Helper()
	spoiled := 0
	must(t, filepath.WalkDir(dir, func(at string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !strings.Contains(at, id) {
			return err
		}
		text, err := os.ReadFile(at)
		if err != nil || len(text) == 0 {
			return err
		}
		text[len(text)/2] ^= 1
		spoiled++
		return os.WriteFile(at, text, 0o600)
	}))
	if spoiled == 0 {
		t.Fatalf("there is no file of %s", id)
	}
}
