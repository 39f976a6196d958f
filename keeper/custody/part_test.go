package custody_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/keeper/custody"
)

// unarchived is an engine that brings nothing that takes backups.
type unarchived struct{ redis.Engine }

func (unarchived) RestorePoints(engine.Installation) backstay.RestorePoints {
	return backstay.NoRestorePoints
}

// TestNobodyWaitsForABackupThatCannotBe: an instance that was backed up and went to a version of which there are no
// backups is removed all the same, and its data is kept.
func TestNobodyWaitsForABackupThatCannotBe(t *testing.T) {
	t.Parallel()
	begun, asked := time.Now(), atomic.Int64{}
	c := custody.Custody{
		Dir: t.TempDir(), Repository: backstay.Repository{Dir: filepath.Join(t.TempDir(), "away")},
		Log: slog.New(slog.DiscardHandler), Engines: map[string]engine.Engine{"redis": unarchived{}},
		Now: func() time.Time { return begun.Add(time.Duration(asked.Add(10)) * time.Second) },
	}
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	p := &keeping{parting: parting{changed: make(chan struct{})}, kept: cancel}
	c.Attend("0e244c2f-35b6-4e59-b6c3-3590f7c7abf6", p)(ctx)
	if context.Cause(ctx) != context.Canceled || len(p.told) < 2 {
		t.Errorf("its data was not kept; it told %d times, as %.4q", len(p.told), p.told[:min(4, len(p.told))])
	}
}

type keeping struct {
	parting
	kept func()
}

func (k *keeping) KeepData(string) error {
	k.kept()
	return nil
}
