package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

func TestBackupsTables(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	list := []backstay.Backup{
		{ID: "a", Began: noon, Ended: noon.Add(time.Minute), Data: 3*backstay.GB + 1, Stored: backstay.MB, Version: "15.18"},
		{ID: "b", Began: noon.Add(time.Hour), Ended: noon.Add(time.Hour + time.Second), Stored: 2 * backstay.MB,
			Version: "15.18", Final: true},
	}
	harmed := slices.Clone(list[:1])
	harmed[0].Damaged = "A part of it is gone."
	archived := backend.Backups{Instance: "one", Engine: "postgres", Version: "15", List: list, Earliest: list[0].Ended,
		Latest: noon.Add(2 * time.Hour), Proof: backend.Proof{At: noon, Took: 1499 * time.Millisecond},
		Gaps: []backstay.Gap{{From: noon.Add(30 * time.Minute), Until: noon.Add(31 * time.Minute)}}}
	deleted := backend.Backups{Instance: "two", Engine: "redis", Version: "7", List: list[1:], Removed: noon, Until: noon,
		Proof: backend.Proof{At: noon, Reason: "It is damaged."}}
	begun := backend.Backups{Instance: "three", Engine: "mysql", Version: "10.11", Running: true,
		Troubles: []backstay.Trouble{{Kind: "backup", Sentence: "The disk is full."}}}
	damaged := backend.Backups{Instance: "four", Engine: "redis", Version: "7", List: append(harmed, list[1])}
	var table, first, fourth bytes.Buffer
	names := map[backstay.InstanceID]string{"one": "orders"}
	if err := writeBackupsTable(&table, []backend.Backups{archived, deleted, begun, damaged}, names); err != nil {
		t.Fatal(err)
	}
	wantText(t, table.String(), `instance   name        service       backups         stored   last backup           restorable                                   proved
one        orders      postgres 15   2               3MB      2026-03-01 12:00:01   2026-03-01 11:01:00 to 2026-03-01 13:00:00   2026-03-01 11:00:00, took 1s
two        (deleted)   redis 7       1               2MB      2026-03-01 12:00:01   each backup                                  2026-03-01 11:00:00 FAILED: It is damaged.
three      -           mysql 10.11   0               0B       none yet              nothing                                      never
four       -           redis 7       2 (1 damaged)   3MB      2026-03-01 12:00:01   each backup                                  never

three: The disk is full.
`)
	if err := errors.Join(writeBackups(&first, archived, "orders"), writeBackups(&fourth, damaged, "")); err != nil {
		t.Fatal(err)
	}
	wantText(t, first.String(), `instance:         one
name:             orders
service:          postgres 15
restorable:       2026-03-01 11:01:00 to 2026-03-01 13:00:00
not restorable:   2026-03-01 11:30:00 to 2026-03-01 12:00:01
proved restore:   2026-03-01 11:00:00, took 1s

backup   began                 took   data   stored   version
a        2026-03-01 11:00:00   1m0s   3GB    1MB      15.18
b        2026-03-01 12:00:00   1s     0B     2MB      15.18 (the last one)
`)
	if want := "15.18 DAMAGED: A part of it is gone.\n"; !strings.Contains(fourth.String(), want) {
		t.Errorf("it says\n%s\nand should say %s", fourth.String(), want)
	}
}

func wantText(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("it says\n%s\nand should say\n%s", got, want)
	}
}
