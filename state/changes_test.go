package state

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backstay/backstay/internal/testkit"
)

// A waiter that nobody tells anything looks again by itself.
func TestWaitersLookAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &Store{changes: &changes{waiters: map[string]map[chan struct{}]struct{}{}}}
		begun, looks := time.Now(), 0
		err := s.await(t.Context(), "topic", func() (bool, error) {
			looks++
			return looks == 3, nil
		})
		if err != nil || time.Since(begun) != 2*lookAgain {
			t.Errorf("%d looks in %v, %v", looks, time.Since(begun), err)
		}
	})
}

// No statement of ours lasts for ever, whatever it waits for; those of the queue and of migrations are told apart.
func TestStatementsHaveTimeLimits(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), testkit.Postgres(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for name, want := range map[string]string{
		"statement_timeout": "30s", "idle_in_transaction_session_timeout": "1min",
	} {
		var got string
		if err := s.pool.QueryRow(t.Context(), "SHOW "+name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", name, got, err, want)
		}
	}
}
