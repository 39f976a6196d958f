package mysql_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/backstay/backstay"
)

// TestTuning puts what users choose in force, in sessions that begin later, and takes it back.
func TestTuning(t *testing.T) {
	t.Parallel()
	s := serve(t)
	b := s.bind(t)
	const now = "SELECT CONCAT_WS(' ', @@wait_timeout, @@sql_mode, @@time_zone, @@group_concat_max_len, @@sort_buffer_size)"
	before := b.ask(t, now)
	if s.reload(t, `{"settings": {"wait_timeout": 77, "sql_mode": "NO_ZERO_DATE", "default_time_zone": "Europe/London",
		"group_concat_max_len": 99999, "sort_buffer_size": "64kB", "transaction_isolation": "READ-COMMITTED"}}`) {
		t.Error("a restart is said to be needed")
	}
	if got := b.ask(t, now); got != "77 NO_ZERO_DATE Europe/London 99999 65536" {
		t.Errorf("in force are %s", got)
	}
	if got := b.ask(t, "SELECT ROUND(1.5)"); got != "2" { // the node serves on
		t.Error(got)
	}
	if !s.reload(t, `{"settings": {"innodb_ft_min_token_size": 2}}`) {
		t.Error("innodb_ft_min_token_size is said to need no restart")
	}
	if s.reload(t, `{}`) {
		t.Error("what was never in force is said to need a restart to go")
	}
	if got := b.ask(t, now); got != before {
		t.Errorf("in force are %s, and were %s before", got, before)
	}
	for given, words := range map[string]string{
		`{"settings": {"sql_mode": "ANSI_QUOTES"}}`:           "Setting sql_mode cannot be",
		`{"settings": {"default_time_zone": "Europe/Nowhe"}}`: "there is no time zone Europe/Nowhe.",
		`{"settings": {"default_time_zone": "+14:00"}}`:       "Setting default_time_zone cannot be",
		`{"settings": {"general_log": true}}`:                 "Unknown setting: general_log.",
	} {
		s.Settings = json.RawMessage(given)
		err := tested.Check(t.Context(), s.Node)
		if backstay.KindOf(err) != backstay.Invalid || !strings.Contains(backstay.SentenceOf(err), words) {
			t.Errorf("%s: %v, want %q", given, err, words)
		}
	}
}

func (s server) reload(t *testing.T, settings string) (restart bool) {
	t.Helper()
	s.Settings = json.RawMessage(settings)
	restart, err := tested.Reload(t.Context(), s.Node)
	if err != nil {
		t.Fatalf("reload with %s: %v", settings, err)
	}
	return restart
}

// ask opens a session, and returns the one value of a query.
func (b binding) ask(t *testing.T, query string) (value string) {
	t.Helper()
	db, err := open(b.credentials)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), query).Scan(&value); err != nil {
		t.Errorf("%s: %v", query, err)
	}
	return value
}
