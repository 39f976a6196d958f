package endpoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/endpoint"
	"github.com/backstay/backstay/internal/process"
)

// TestHandover replaces the front again and again under clients that ask, clients that wait, clients that are fed
// faster than they read, and clients that are just connecting. None of them notices.
func TestHandover(t *testing.T) {
	t.Parallel()
	a := newTarget(t, "a")
	f, p := serving(t, a)
	var over atomic.Bool
	var all sync.WaitGroup
	var asked, connected atomic.Int64
	for i := range 20 { // writers
		c := dial(t, f)
		all.Go(func() {
			random := rand.New(rand.NewPCG(2, uint64(i)))
			for !over.Load() {
				line := fmt.Sprintf("%0*d\n", 1+random.IntN(50_000), random.Uint64())
				if err := c.ask(line); err != nil {
					t.Errorf("a session that asks: %v", err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for range 4 { // clients that come and go
		all.Go(func() {
			for !over.Load() {
				c, err := connect(f)
				if err == nil {
					err = c.ask("x")
					c.Close()
				}
				if err != nil {
					t.Errorf("a client that connects: %v", err)
					return
				}
				connected.Add(1)
			}
		})
	}
	all.Go(func() { // a keeper that tells it something all the time
		for !over.Load() {
			if err := f.Client().Switch(t.Context(), a.at); err != nil {
				t.Errorf("a keeper: %v", err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	slow := startSlow(t, f)
	for i := range 6 {
		before := asked.Load()
		if i == 3 { // with clients that wait
			must(t, f.Client().Hold(t.Context()))
		}
		newer := f // which others read
		newer.Build = fmt.Sprint("build ", i)
		begun := time.Now()
		next := ensure(t, newer)
		t.Logf("handed over in %v", time.Since(begun))
		if next.PID == p.PID {
			t.Fatal("the front was not replaced")
		}
		<-p.Done()
		p = next
		s := await(t, f, "any", func(endpoint.Status) bool { return true })
		if s.Held != (i == 3) || s.Settings.Build != newer.Build || s.Targets[0].Address != a.at {
			t.Errorf("the status is %+v", s)
		}
		must(t, f.Client().Release(t.Context()))
		await(t, f, "writers to go on", func(s endpoint.Status) bool { return asked.Load() > before+20 })
	}
	over.Store(true)
	all.Wait()
	slow()
	t.Logf("%d asked, %d connected", asked.Load(), connected.Load())
	s := await(t, f, "no client that came and went", func(s endpoint.Status) bool { return s.Sessions+s.Waiting == 20 })
	if s.Targets[0].Sessions != 20 {
		t.Errorf("the status is %+v", s)
	}
	must(t, f.Client().Cut(t.Context(), a.at)) // reaches those that were begun by others
	await(t, f, "no session", func(s endpoint.Status) bool { return s.Sessions == 0 })
}

// startSlow has a client ask for more than fits on the way, and read nothing of it until check is called, which wants
// every byte.
func startSlow(t *testing.T, f endpoint.Front) (check func()) {
	t.Helper()
	const size = 32 << 20
	c := dial(t, f)
	must(t, c.hear(20*time.Second))
	at := func(i int) byte { return byte(i * 7 >> 3) }
	sent := make([]byte, size)
	for i := range sent {
		sent[i] = at(i)
	}
	go func() {
		if _, err := c.Write(sent); err != nil {
			t.Errorf("a slow client: %v", err)
		}
		c.CloseWrite()
	}()
	return func() {
		got, err := io.ReadAll(c)
		if err != nil || len(got) != size {
			t.Errorf("a slow client gets %d bytes of %d, %v", len(got), size, err)
		}
		for i, b := range got {
			if b != at(i) {
				t.Fatalf("a slow client gets byte %d wrong", i)
			}
		}
	}
}

// TestHandoverFails: when who takes over ends in the middle of it, or is of a build that speaks otherwise, the front
// goes on.
func TestHandoverFails(t *testing.T) {
	t.Parallel()
	a := newTarget(t, "a")
	f, p := serving(t, a)
	held := dial(t, f)
	checkServedBy(t, held, a)
	for _, tc := range []struct{ name, says, then string }{
		{"nothing", "", ""},
		{"no JSON", "{", ""},
		{"another version", `{"version": 2}`, ""},
		{"leaves when it has all", `{"version": 1}`, ""},
		{"refuses what it has", `{"version": 1}`, `"no"`},
	} {
		at := net.UnixAddr{Name: endpoint.HandoverSocketIn(f.Dir), Net: "unixpacket"}
		c, err := net.DialUnix("unixpacket", nil, &at)
		must(t, err)
		if tc.says != "" {
			_, err = io.WriteString(c, tc.says)
			must(t, err)
		}
		if tc.says == `{"version": 1}` {
			checkAnnounced(t, c, 1, 1)
		}
		if tc.then != "" {
			_, err = io.WriteString(c, tc.then)
			must(t, err)
		}
		c.Close()
		checkServedBy(t, held, a)
		checkServedBy(t, dial(t, f), a)
		await(t, f, "only the first", func(s endpoint.Status) bool { return s.PID == p.PID })
		must(t, f.Client().Switch(t.Context(), a.at)) // it can be told again
		f.Build = tc.name
	}
	ensure(t, f)
	checkServedBy(t, held, a)
}

func checkAnnounced(t *testing.T, c *net.UnixConn, listeners, least int) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	packet := make([]byte, 200_000)
	n, err := c.Read(packet)
	must(t, err)
	var i struct{ Listeners, Connections int }
	must(t, json.Unmarshal(packet[:n], &i))
	if i.Listeners != listeners || i.Connections < least {
		t.Errorf("announced are %+v; want %d listeners and %d connections", i, listeners, least)
	}
	for range i.Listeners + i.Connections {
		_, err := c.Read(packet)
		must(t, err)
	}
}

// TestTakerIsKilled kills who takes over, at any moment: either the old one goes on, or all has ended, and nothing
// hangs.
func TestTakerIsKilled(t *testing.T) {
	t.Parallel()
	a := newTarget(t, "a")
	f, _ := serving(t, a)
	for i := range 12 {
		c := dial(t, f)
		checkServedBy(t, c, a)
		f.Build = fmt.Sprint(i)
		begun := make(chan struct{})
		go func() {
			defer close(begun)
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*10)*time.Millisecond)
			defer cancel()
			if p, err := f.Ensure(ctx); err == nil {
				p.Close()
			}
		}()
		<-begun
		killTakers(t, f)
		if err := c.ask("x"); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				t.Errorf("a session is neither served nor ended: %v", err)
			}
		}
		ensure(t, f)
		checkServedBy(t, dial(t, f), a)
	}
}

// killTakers kills all processes of a front but the one that holds its pid file.
func killTakers(t *testing.T, f endpoint.Front) {
	t.Helper()
	holder, err := process.PIDFileHolder(endpoint.PIDFileIn(f.Dir))
	must(t, err)
	dirs, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil && pid != holder && process.WorksIn(pid, f.Dir) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
	}
}
