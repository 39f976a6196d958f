package redis_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/backstay/backstay/engine/enginetest"
	"github.com/backstay/backstay/internal/testkit"
	"github.com/backstay/backstay/internal/wait"
)

// BenchmarkFailover kills primaries whose standby follows, beside what one does by hand: REPLICAOF NO ONE once the
// primary is dead. From the kill to the first write, it includes no detection: this is the engine's part. By hand
// nothing is fenced, nothing is for good, and nothing is encrypted.
func BenchmarkFailover(b *testing.B) {
	p := enginetest.NewPair(b, tested, "")
	hand := newHandPair(b)
	for b.Loop() {
		took := changeOver(b, p, p.KillPrimary)
		b.ReportMetric(took.Seconds(), "s/failover")
		b.ReportMetric(took.Seconds()/hand.failOver(b).Seconds(), "failover/by-hand")
		if err := p.HandOver(b.Context(), p.Primary(), p.Standby()); err != nil {
			b.Fatal(err)
		}
		took = changeOver(b, p, func(t testing.TB) { p.EndPrimary(t) })
		b.ReportMetric(took.Seconds(), "s/switchover")
	}
}

// changeOver returns how long it takes from the primary's end until the standby is written to. The one before follows
// then.
func changeOver(b *testing.B, p *enginetest.Pair, end func(testing.TB)) time.Duration {
	b.Helper()
	began := time.Now()
	end(b)
	p.FailOver(b)
	c := administrator(b, filepath.Join(p.Primary().RunDir, "redis.sock"))
	secret, err := p.Primary().Admin.Secret()
	if err != nil {
		b.Fatal(err)
	}
	c.Username, c.Password = p.Primary().Admin.User, secret.Reveal()
	writeBy(b, c)
	took := time.Since(began)
	p.Rejoin(b)
	return took
}

func administrator(b *testing.B, socket string) *goredis.Options {
	b.Helper()
	return &goredis.Options{Network: "unix", Addr: socket, MaxRetries: -1, DisableIndentity: true}
}

// writeBy writes as soon as the server lets it.
func writeBy(b *testing.B, as *goredis.Options) {
	b.Helper()
	c := goredis.NewClient(as)
	defer c.Close()
	until(b, func(ctx context.Context) bool { return c.Set(ctx, "key", "value", 0).Err() == nil })
}

func until(b *testing.B, is func(context.Context) bool) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	err := wait.Until(ctx, wait.Every(time.Millisecond), func() (again bool, err error) { return !is(ctx), nil })
	if err != nil {
		b.Fatal(err)
	}
}

// handPair is a primary and a standby as a manual has one make them.
type handPair struct {
	program string
	dirs    [2]string
	ports   [2]int
	running [2]*exec.Cmd
	leads   int
}

func newHandPair(b *testing.B) *handPair {
	b.Helper()
	i := enginetest.NewNode(b, tested).Installation
	h := &handPair{program: filepath.Join(i.Dir, strings.ToLower(i.Product)+"-server")}
	h.dirs = [2]string{testkit.Dir(b), testkit.Dir(b)}
	h.ports[0], h.ports[1] = testkit.Ports(b, 2)
	h.start(b, 0)
	h.follow(b)
	b.Cleanup(func() {
		for _, cmd := range h.running {
			cmd.Process.Kill() // it may have ended
			cmd.Wait()
		}
	})
	return h
}

func (h *handPair) start(b *testing.B, i int, more ...string) {
	b.Helper()
	socket := filepath.Join(h.dirs[i], "s")
	cmd := exec.Command(h.program, append([]string{"--port", strconv.Itoa(h.ports[i]), "--dir", h.dirs[i],
		"--unixsocket", socket, "--appendonly", "yes", "--save", "", "--repl-diskless-sync-delay", "0"}, more...)...)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	h.running[i] = cmd
	c := goredis.NewClient(administrator(b, socket))
	defer c.Close()
	until(b, func(ctx context.Context) bool { return c.Ping(ctx).Err() == nil })
}

// follow starts the standby, and waits until it has a copy.
func (h *handPair) follow(b *testing.B) {
	b.Helper()
	i := 1 - h.leads
	h.start(b, i, "--replicaof", "127.0.0.1 "+strconv.Itoa(h.ports[h.leads]))
	c := goredis.NewClient(administrator(b, filepath.Join(h.dirs[i], "s")))
	defer c.Close()
	until(b, func(ctx context.Context) bool {
		return strings.Contains(c.Info(ctx, "replication").Val(), "master_link_status:up")
	})
}

func (h *handPair) failOver(b *testing.B) time.Duration {
	b.Helper()
	began := time.Now()
	h.running[h.leads].Process.Kill()
	h.running[h.leads].Wait()
	h.leads = 1 - h.leads
	as := administrator(b, filepath.Join(h.dirs[h.leads], "s"))
	c := goredis.NewClient(as)
	defer c.Close()
	if err := c.Do(b.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		b.Fatal(err)
	}
	writeBy(b, as)
	took := time.Since(began)
	h.follow(b)
	return took
}
