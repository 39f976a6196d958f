package keeper_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/keeper/keepertest"
)

func TestPairX(t *testing.T) {
	c := keepertest.Config(t, 4)
	b, _ := keepertest.Run(t, c)
	spec := newSpec(t)
	spec.Nodes = 2
	began := time.Now()
	t.Cleanup(func() {
		for _, home := range []string{"", "+2"} {
			text, _ := os.ReadFile(filepath.Join(c.DataDir, "instances", string(spec.Instance)+home, "log", "engine.log"))
			t.Log(home, string(text))
		}
	})
	if err := b.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	until(t, b, spec.Instance, func(s backend.Status) bool { return s.Phase == backend.Running })
	t.Log("serves", time.Since(began))
	protected := func(s backend.Status) bool {
		return s.Phase == backend.Running && len(s.Nodes) == 2 && s.Nodes[1].Phase == backend.Running
	}
	until(t, b, spec.Instance, protected)
	t.Log("protected", time.Since(began))
	creds, err := b.CreateUser(t.Context(), spec.Instance, backend.User{Name: "someone1", Password: "correcthorsebatterystaple"})
	if err != nil {
		t.Fatal(err)
	}
	uri := creds["uri"].(string)
	for range 3 {
		port := func() int {
			var r struct {
				NodePort int `json:"node_port"`
			}
			text, _ := os.ReadFile(filepath.Join(c.DataDir, "keeper", "instances", string(spec.Instance)+".json"))
			json.Unmarshal(text, &r)
			return r.NodePort
		}
		u, _ := url.Parse(uri)
		u.Host = fmt.Sprintf("localhost:%d", port())
		conn, err := pgx.Connect(t.Context(), u.String()+"?sslmode=require")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS t (i int)"); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "INSERT INTO t VALUES (1)"); err != nil {
			t.Fatal(err)
		}
		a, err := b.Admin(t.Context(), spec.Instance)
		if err != nil {
			t.Fatal(err)
		}
		p, _ := os.FindProcess(a.PID)
		before := port()
		killed := time.Now()
		p.Kill()
		for {
			if now := port(); now != before {
				u.Host = fmt.Sprintf("localhost:%d", now)
				if conn, err = pgx.Connect(t.Context(), u.String()+"?sslmode=require"); err == nil {
					if _, err = conn.Exec(t.Context(), "INSERT INTO t VALUES (1)"); err == nil {
						break
					}
				}
			}
			if time.Since(killed) > limit {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		t.Log("failed over", time.Since(killed))
		until(t, b, spec.Instance, protected)
		t.Log("protected", time.Since(killed))
	}
	if err := b.Remove(t.Context(), spec.Instance); err != nil {
		t.Fatal(err)
	}
}
