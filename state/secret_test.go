package state_test

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/market/markettest"
	"github.com/backstay/backstay/pki"
	"github.com/backstay/backstay/state"
)

func TestSecretIsKeptOnce(t *testing.T) {
	t.Parallel()
	var store pki.SecretStore = markettest.OpenStore(t)
	if _, err := store.Secret(t.Context(), "a"); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("a secret that nobody kept: %v", err)
	}
	kept := make([][]byte, 8)
	var all sync.WaitGroup
	for i := range kept {
		all.Go(func() {
			var err error
			if kept[i], err = store.KeepSecret(t.Context(), "a", []byte{byte(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	now, err := store.Secret(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range kept {
		if !bytes.Equal(k, now) {
			t.Errorf("caller %d got %v, kept is %v", i, k, now)
		}
	}
	if other, err := store.KeepSecret(t.Context(), "b", []byte("other")); err != nil || string(other) != "other" {
		t.Errorf("another name's secret is %q (%v)", other, err)
	}
}

// TestASecretIsPeekedAt in a database that nobody has opened, before and after there is one.
func TestASecretIsPeekedAt(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	want := func(some bool, sealed string) {
		t.Helper()
		got, found, err := state.PeekSecret(t.Context(), dsn, "keys")
		if err != nil || found != some || string(got) != sealed {
			t.Errorf("peeked at %q, some %t (%v); want %q, %t", got, found, err, sealed, some)
		}
	}
	want(false, "")
	store, err := state.Open(t.Context(), dsn, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	want(false, "")
	if _, err := store.KeepSecret(t.Context(), "another", []byte("a")); err != nil {
		t.Fatal(err)
	}
	want(true, "")
	for _, sealed := range []string{"first", "second"} {
		if err := store.SetSecret(t.Context(), "keys", []byte(sealed)); err != nil {
			t.Fatal(err)
		}
		want(true, sealed)
	}
}
