package keeper_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/local"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/keeper/keepertest"
)

// drilled returns the status of an instance that serves as wanted, once the drill that its Spec has called for has
// ended, and nothing is left of that.
func drilled(t *testing.T, b *local.Backend, c keeper.Config, spec backend.Spec) backend.Status {
	t.Helper()
	s := untilWithin(t, 4*limit, b, spec.Instance, func(s backend.Status) bool {
		return running(s) && s.Generation == spec.Generation &&
			s.Drill != nil && s.Drill.Generation == spec.Generation && !s.Drill.Ended.IsZero()
	})
	t.Logf("a drill has seen %+v", *s.Drill)
	note := filepath.Join(c.DataDir, "keeper", "instances", string(spec.Instance)+".drill")
	err := wait.Until(t.Context(), wait.Every(20*time.Millisecond), func() (again bool, err error) {
		_, err = os.Stat(note)
		return err == nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantDrill wants a drill to have seen that nothing was lost, and for how long writes failed: as long as another client
// saw that, or nearly.
func wantDrill(t *testing.T, s backend.Status, changed bool, client outcome) {
	t.Helper()
	d := *s.Drill
	t.Logf("another client saw %+v", client)
	if d.Lost != 0 || d.Trouble != "" || d.Written < 2 || d.Changed != changed || d.Node != s.Nodes[0].Name {
		t.Errorf("a drill has seen %+v of nodes %+v", d, s.Nodes)
	}
	if least, most := client.longest/4, 4*client.longest+time.Second; d.Failed < least || d.Failed > most {
		t.Errorf("writes failed for %v, and another client saw %v", d.Failed, client.longest)
	}
}

// TestDrillOfAPair: what a standby that takes over on request costs clients is seen, and nothing is left of who saw it.
func TestDrillOfAPair(t *testing.T) {
	onEachPair(t, func(t *testing.T, p product, c keeper.Config) {
		b, _ := keepertest.Run(t, c)
		spec := specOf(t, p)
		spec.Nodes = 2
		mustApplySpec(t, b, spec)
		if s := until(t, b, spec.Instance, isProtected); s.Drill != nil {
			t.Errorf("nobody has asked for a drill, and one has seen %+v", s.Drill)
		}
		credentials := mustCredentials(t, b, spec.Instance)
		for _, next := range []func(){func() { spec.Failovers++ }, func() { spec.Restarts++ }} {
			until(t, b, spec.Instance, isProtected)
			stop := probe(t, p, credentials)
			spec.Generation++
			next()
			mustApplySpec(t, b, spec)
			s := drilled(t, b, c, spec)
			wantDrill(t, s, true, stop())
		}
		wantNoDriller(t, p, credentials)
	})
}

// TestDrillOfARestart: of an instance of one, what its restart costs clients. What takes a restart that nobody has asked
// for is no drill.
func TestDrillOfARestart(t *testing.T) {
	onEachPair(t, func(t *testing.T, p product, c keeper.Config) {
		b, _ := keepertest.Run(t, c)
		spec := specOf(t, p)
		mustApplySpec(t, b, spec)
		until(t, b, spec.Instance, running)
		credentials := mustCredentials(t, b, spec.Instance)
		stop := probe(t, p, credentials)
		spec.Generation, spec.Restarts = 2, 1
		mustApplySpec(t, b, spec)
		s := drilled(t, b, c, spec)
		wantDrill(t, s, false, stop())
		wantNoDriller(t, p, credentials)

		spec.Generation, spec.Size.Connections = 3, 2*spec.Size.Connections
		mustReach(t, b, spec)
		if s := until(t, b, spec.Instance, running); s.Drill == nil || s.Drill.Generation != 2 {
			t.Errorf("a larger plan is a drill: %+v", s.Drill)
		}
	})
}

// TestDrillOutlivesTheKeeper: one that ends in the middle leaves it to the next.
func TestDrillOutlivesTheKeeper(t *testing.T) {
	onEachPair(t, func(t *testing.T, p product, c keeper.Config) {
		b, kill, died := keepertest.Start(t, c, "keeper.failed-over")
		spec := specOf(t, p)
		spec.Nodes = 2
		mustApplySpec(t, b, spec)
		until(t, b, spec.Instance, isProtected)
		credentials := mustCredentials(t, b, spec.Instance)
		spec.Generation, spec.Failovers = 2, 1
		mustApplySpec(t, b, spec)
		<-died
		kill()
		b, _ = keepertest.Run(t, c)
		d := drilled(t, b, c, spec).Drill
		if d.Lost != 0 || d.Written < 2 || !d.Changed || d.Trouble == "" {
			t.Errorf("a drill whose keeper was killed has seen %+v", d)
		}
		wantNoDriller(t, p, credentials)
	})
}

// wantNoDriller wants nothing to be left of who has written in a drill, as far as clients could see that.
func wantNoDriller(t *testing.T, p product, c backstay.Credentials) {
	t.Helper()
	if p.engine != "postgres" {
		return // where they see nothing of others
	}
	w, err := p.open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	var left int
	err = w.(postgresWriter).QueryRow(t.Context(), "SELECT count(*) FROM pg_roles WHERE rolname LIKE '%drill%'").Scan(&left)
	if err != nil || left > 0 {
		t.Errorf("%d roles of drills are left (%v)", left, err)
	}
}
