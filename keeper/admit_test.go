package keeper_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

func TestPortsAreGivenOnceAndUsedUp(t *testing.T) {
	t.Parallel()
	const room = 2
	b, _ := keepertest.Run(t, keepertest.Config(t, room))
	var all sync.WaitGroup
	refusals := make(chan error, room+1)
	specs := make([]backend.Spec, room+1)
	for i := range specs {
		specs[i] = newSpec(t)
		all.Go(func() { refusals <- b.Apply(t.Context(), specs[i]) })
	}
	all.Wait()
	close(refusals)
	refused := 0
	for err := range refusals {
		if err == nil {
			continue
		}
		refused++
		const want = "No free port is left in the range"
		if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(backstay.SentenceOf(err), want) {
			t.Errorf("refused with %v", err)
		}
	}
	ports := map[int]bool{}
	for _, spec := range specs {
		if s, err := b.Await(t.Context(), spec.Instance, 0); err == nil {
			ports[s.Endpoint.Port] = true
		}
	}
	if refused != 1 || len(ports) != room {
		t.Errorf("%d were refused, and the others have ports %v; want 1, and %d", refused, ports, room)
	}
	if err := b.Admit(t.Context(), newSpec(t)); backstay.KindOf(err) != backstay.Unavailable {
		t.Errorf("Admit: %v", err)
	}
}

func TestDiskNearlyFull(t *testing.T) {
	t.Parallel()
	c := keepertest.Config(t, 1)
	c.MinFree = 1 << 60
	b, _ := keepertest.Run(t, c)
	for what, err := range map[string]error{
		"Admit": b.Admit(t.Context(), newSpec(t)), "Apply": b.Apply(t.Context(), newSpec(t)),
	} {
		const want = "The disk is nearly full"
		if backstay.KindOf(err) != backstay.Unavailable || !strings.Contains(backstay.SentenceOf(err), want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ours := newSpec(t)
	ours.Private, ours.TLS = true, backstay.Certificate{}
	if err := b.Apply(t.Context(), ours); err != nil {
		t.Errorf("our own database is refused: %v", err)
	}
}

func TestParsePortRange(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]keeper.PortRange{
		"20000-29999": {First: 20000, Last: 29999}, "1024-1024": {First: 1024, Last: 1024},
		"1024-65535": {First: 1024, Last: 65535},
	} {
		if got, err := keeper.ParsePortRange(text); err != nil || got != want || got.String() != text {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "20000", "-", "20000-", "-20000", "2-1", "80-90", "20000-65536", "a-b", "20000-29999-30000", "29999-20000",
	} {
		if got, err := keeper.ParsePortRange(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func FuzzParsePortRange(f *testing.F) {
	f.Add("20000-29999")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := keeper.ParsePortRange(text)
		if err != nil {
			return
		}
		if again, err := keeper.ParsePortRange(r.String()); err != nil || again != r || r.First > r.Last {
			t.Errorf("%q is %v, which comes back as %v, %v", text, r, again, err)
		}
	})
}
