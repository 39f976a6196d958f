package kubernetes

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/repository"
)

// keptSpec is that of an instance that is backed up.
func keptSpec() backend.Spec {
	return backend.Spec{
		Instance: anId, Generation: 3, Engine: "postgres", Version: "15",
		Backup: &backend.BackupPolicy{Window: "02:30-03:00", Days: 7, Final: 35, Key: "the-key"},
	}
}

// withBackup puts a backup into a new object store, on the line "1", with the note that is left beside it, and returns
// the instance's part.
func (b *Backend) withBackup(t *testing.T, key string) *repository.Bare {
	t.Helper()
	b.Repository = &Repository{ObjectStore: testkit.ObjectStore(t).ObjectStore}
	part, err := b.part(anId)
	if err != nil {
		t.Fatal(err)
	}
	spec := keptSpec()
	spec.Backup.Key = "the-key"
	r := record{Spec: spec, Keeping: keeping{Lines: []line{{Name: "1"}}, Begun: 1, Asked: 2}}
	n := r.note()
	if key != "" {
		n.Key = key
	}
	if err := writeNote(t.Context(), part, n); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"1/base/20261129T075500/backup.info": info, "1/base/20261129T075500/data.tar.gz": "x",
		"1/" + pieceWithin("000000010000000000000003") + ".gz": "x",
	} {
		if err := part.PutText(t.Context(), name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return part
}

// aCluster is one that archives to a line; empty: it does not.
func aCluster(line string) *unstructured.Unstructured {
	o := newObject("postgresql.cnpg.io/v1", "Cluster", "services", nameOf(anId), anId)
	if line != "" {
		store := map[string]any{"barmanObjectStore": map[string]any{"serverName": line}}
		o.Object["spec"] = map[string]any{"backup": store}
	}
	return o
}

// TestBackupsOutliveTheRecord of an instance: they are none of an earlier instance's, and what its Cluster archives goes
// on. Where that is gone too, the instance can return to them.
func TestBackupsOutliveTheRecord(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cluster *unstructured.Unstructured
		noted   string // the key's fingerprint in the note; empty: that of the instance's
		lines   string
		cut     bool
	}{
		"a Cluster on the line":              {aCluster("1"), "", "1", false},
		"a Cluster on a line without a note": {aCluster("2"), "", "1 2", false},
		"a Cluster that is not archived":     {aCluster(""), "", "1", true},
		"no Cluster":                         {nil, "", "1", true},
		"backups of another instance":        {aCluster("2"), "another", "2", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeCluster()
			b := c.backend(t)
			part := b.withBackup(t, tc.noted)
			if tc.cluster != nil {
				c.put(clusters, tc.cluster)
			}
			r, err := b.around(t.Context(), record{Spec: keptSpec(), Served: true})
			if err != nil {
				t.Fatal(err)
			}
			in := c.holding(t, b, r)
			for range 3 {
				in.bring(t.Context(), in.record)
			}
			now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
			in.tidy(t.Context(), now)
			if _, err := part.Text(t.Context(), "1/base/20261129T075500/backup.info"); err != nil {
				t.Fatalf("before anybody has looked whose the backups are, one is gone: %v", err)
			}
			in.lookForKept(t.Context(), in.record)
			k := in.record.Keeping
			var lines []string
			for _, l := range k.Lines {
				lines = append(lines, l.Name)
			}
			if got := strings.Join(lines, " "); got != tc.lines || k.Cut != tc.cut || k.Lost {
				t.Errorf("of the backups is known %+v, want the lines %s, cut: %t", k, tc.lines, tc.cut)
			}
			if err := in.relist(t.Context(), in.record); err != nil {
				t.Fatal(err)
			}
			in.tidy(t.Context(), now)
			_, err = part.Text(t.Context(), "1/base/20261129T075500/backup.info")
			if isKept := tc.noted == ""; (err == nil) != isKept || (len(in.backupsOf(in.record).List) == 1) != isKept {
				t.Errorf("the backup is read with %v, and told of as %+v", err, in.backupsOf(in.record))
			}
			if tc.noted == "" && (k.Asked != 2 || k.Begun != 1) {
				t.Errorf("what is noted beside the backups is not known: %+v", k)
			}
		})
	}
}

// TestBackupsAreNewerThanTheRecord of an instance, whose Kubernetes was restored from a backup: they are its own all the
// same.
func TestBackupsAreNewerThanTheRecord(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		noted string // the key's fingerprint in the note; empty: that of the instance's
		lines string
	}{
		"its own":                      {"", "1 0"},
		"those of an earlier instance": {"another", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeCluster()
			b := c.backend(t)
			part := b.withBackup(t, tc.noted)
			c.put(clusters, aCluster("0"))
			r := record{Spec: keptSpec(), Served: true, Keeping: keeping{Lines: []line{{Name: "0"}}}}
			r.Reached = &r.Spec
			in := c.holding(t, b, r)
			for range 2 {
				if err := in.relist(t.Context(), in.record); err != nil {
					t.Fatal(err)
				}
				in.tidy(t.Context(), time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC))
				if in.record.Keeping.Lost {
					in.lookForKept(t.Context(), in.record)
				}
			}
			var lines []string
			for _, l := range in.record.Keeping.Lines {
				lines = append(lines, l.Name)
			}
			if got := strings.Join(lines, " "); got != tc.lines || in.record.Keeping.Lost {
				t.Errorf("of the backups is known %+v, want the lines %s", in.record.Keeping, tc.lines)
			}
			_, err := part.Text(t.Context(), "1/base/20261129T075500/backup.info")
			if isKept := tc.noted == ""; (err == nil) != isKept {
				t.Errorf("the backup is read with %v", err)
			}
		})
	}
}
