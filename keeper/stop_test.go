package keeper_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/keeper/keepertest"
	"github.com/backstay/backstay/keeper/wire"
)

// TestStopArchives: what was committed until a machine is stopped is in its repository, to the last second, though the
// machine never comes back.
func TestStopArchives(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	for _, p := range products[:2] { // the other one has no archive
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			r := backstay.Repository{Dir: testkit.Dir(t)}
			m := newMoments(t, p, everything(t), r)
			stop := m.start()
			m.write()
			stop()
			last := engine.WholeSecond(m.noted.last())
			m.stop()

			m.c = only(p, everything(t))
			m.c.Repository = r
			m.b, m.kill, _ = keepertest.Start(t, m.c, "")
			for _, at := range []time.Time{last, {}} {
				m.noted.compare(t, m.copied(at, false), last, last)
			}
		})
	}
}

// TestStopWithoutRepository waits a moment for one that does not answer, and for none that is away. Nothing is lost: the
// next keeper makes it up.
func TestStopWithoutRepository(t *testing.T) {
	testkit.InSomeRuns(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	for _, p := range products[:2] {
		t.Run(p.engine, func(t *testing.T) {
			t.Parallel()
			slow := testkit.ObjectStore(t).Slow(t)
			c := only(p, everything(t))
			c.Repository = backstay.Repository{Objects: &slow.ObjectStore}
			b, ended := keepertest.Run(t, c)
			m := &moments{T: t, p: p, c: c, b: b, spec: specOf(t, p)}
			m.spec.Backup = backedUp(t).Backup
			mustReach(t, b, m.spec)
			m.access = mustCredentials(t, b, m.spec.Instance)
			m.note()
			mustAwaitBackups(t, b, m.spec.Instance, atLeast(1))
			m.note()
			last := engine.WholeSecond(m.noted.last())
			slow.Delay(time.Minute)
			m.askToStop(ended)
			slow.Delay(0)
			m.b, _ = keepertest.Run(t, c)
			mustReach(t, m.b, m.spec)
			mustAwaitBackups(t, m.b, m.spec.Instance, func(k backend.Backups) bool {
				return k.Trouble() == "" && !k.Latest.Before(last)
			})
			m.restore(last)
		})
	}
}

// stop stops all engines with their keeper, which is over soon.
func (m *moments) stop() {
	m.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(m.Context(), 3*slowest)
	defer cancel()
	if asked, err := m.b.Stop(ctx); !asked || err != nil {
		m.Fatalf("stop: %t, %v", asked, err)
	}
	if took := time.Since(began); took > slowest {
		m.Errorf("a stop took %v", took)
	}
}

// askToStop has a keeper of this process end its engines, and returns when it has ended.
func (m *moments) askToStop(ended func()) {
	m.Helper()
	began := time.Now()
	client := http.Client{Timeout: 3 * slowest, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", keepertest.Socket(m.c))
		},
	}}
	defer client.CloseIdleConnections()
	answer, err := client.Post("http://keeper"+wire.StopPath, "", nil)
	if err != nil {
		m.Fatal(err)
	}
	answer.Body.Close()
	ended()
	if took := time.Since(began); answer.StatusCode >= 300 || took > slowest {
		m.Errorf("a stop took %v, and was answered %s", took, answer.Status)
	}
}
