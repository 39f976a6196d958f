package mysql_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/backstay/backstay/engine/enginetest"
)

// londonAtNoon asks for noon of a summer's day in Greenwich, as it is in London.
const londonAtNoon = "SELECT ifnull(convert_tz('2020-07-01 12:00:00', 'UTC', 'Europe/London'), 'unknown')"

// Time zones have names, as tenants find them in Amazon's RDS, and nobody but the platform changes them.
func testZones(t *testing.T, s server) {
	c := s.bind(t).connect(t)
	c.want(t, londonAtNoon, "2020-07-01 13:00:00")
	c.want(t, "SELECT convert_tz('2037-07-01 12:00:00', 'UTC', 'Australia/Sydney')", "2037-07-01 22:00:00")
	c.do(t, "SET time_zone = 'Europe/London'")
	c.want(t, "SELECT from_unixtime(1593604800)", "2020-07-01 13:00:00")
	for _, c := range []client{c, s.bindReadOnly(t).connect(t)} {
		for _, statement := range []string{"DELETE FROM mysql.time_zone_name", "TRUNCATE mysql.time_zone_transition",
			"DROP TABLE mysql.time_zone", "LOCK TABLES mysql.time_zone_name WRITE", "SELECT * FROM mysql.time_zone_name",
			"RENAME TABLE mysql.time_zone_name TO main.mine", "CREATE DATABASE backstay_zones"} {
			c.refused(t, statement)
		}
	}
}

// TestZonesAreBroughtUpToDate: an instance that was made before there were zones gets them, and newer ones when the
// machine has newer ones, while it runs and with what an earlier try has left.
func TestZonesAreBroughtUpToDate(t *testing.T) {
	t.Parallel()
	e := tested
	e.Zoneinfo = t.TempDir()
	n := enginetest.NewNode(t, e) // made without
	enginetest.Serve(t, e, n)
	s := server{n}
	c := s.bind(t).connect(t)
	now, _, err := e.Tend(t.Context(), n, "")
	if err != nil || now != "" {
		t.Errorf("without zones on the machine: %q, %v", now, err)
	}
	c.want(t, londonAtNoon, "unknown")
	s.admin(t).do(t, "CREATE DATABASE backstay_zones")
	last, _, err := tested.Tend(t.Context(), n, "")
	if err != nil || last == "" {
		t.Fatalf("%q, %v", last, err)
	}
	c.want(t, londonAtNoon, "2020-07-01 13:00:00")
	makeZone(t, e.Zoneinfo, "Backstay/Yard", "Asia/Tokyo")
	if again, _, err := e.Tend(t.Context(), n, last); err != nil || again == last {
		t.Errorf("newer zones are %q as before, %v", again, err)
	}
	c.want(t, "SELECT convert_tz('2020-07-01 12:00:00', 'UTC', 'Backstay/Yard')", "2020-07-01 21:00:00")
	s.admin(t).want(t, "SELECT count(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'backstay_zones'", "0")
}

// makeZone makes dir a machine's zones of a later day: with one that is called name, and like another.
func makeZone(t *testing.T, dir, name, like string) {
	t.Helper()
	zone, err := os.ReadFile(filepath.Join("/usr/share/zoneinfo", like))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	source := "# version " + time.Now().Format(time.RFC3339)
	for path, text := range map[string]string{path: string(zone), filepath.Join(dir, "tzdata.zi"): source} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
