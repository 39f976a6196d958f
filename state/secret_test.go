package state_test

import (
	"bytes"
	"sync"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market/markettest"
	"github.com/backstay/backstay/pki"
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
