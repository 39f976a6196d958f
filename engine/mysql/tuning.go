package mysql

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

const timeZone = "default_time_zone"

const kilobyte, megabyte, gigabyte = int64(1) << 10, int64(1) << 20, int64(1) << 30

// wishes are what users chose.
type wishes struct {
	Settings map[string]json.RawMessage `json:"settings"` // see Tuning
}

// parseSettings is Invalid for anything that it does not know, and for a time zone that the machine does not know: with
// that one the server would not start.
func (e Engine) parseSettings(n engine.Node) ([]engine.Chosen, error) {
	var w wishes
	if err := n.DecodeSettings("MySQL", &w); err != nil {
		return nil, err
	}
	chosen, err := e.Tuning(n.Installation).Parse(w.Settings, n.Size.Memory)
	for _, c := range chosen {
		if c.Name == timeZone && !strings.ContainsAny(c.Value[:1], "+-") && !isFile(filepath.Join(e.zonesDir(), c.Value)) {
			return nil, backstay.Errorf(backstay.Invalid, "Setting %s: there is no time zone %s.", c.Name, c.Value)
		}
	}
	return chosen, err
}

func isFile(path string) bool {
	about, err := os.Stat(path)
	return err == nil && about.Mode().IsRegular()
}

// Tuning returns the settings, which are the same for MariaDB and MySQL. Those that name files, programs or plugins are
// not among them, nor those that log statements, nor modes of SQL that would change what the administrator's statements
// mean.
func (Engine) Tuning(engine.Installation) engine.Tuning {
	return slices.Concat(memoryTuning, timeTuning, queryTuning)
}

var memoryTuning = engine.Tuning{
	{Name: "max_allowed_packet", Of: engine.Memory, Least: megabyte, Most: gigabyte, Default: "256MB",
		Meaning: "The largest statement and the largest row."},
	{Name: "sort_buffer_size", Of: engine.Memory, Least: 32 * kilobyte, Most: gigabyte, Part: 32,
		Meaning: "What one sort of a session may take."},
	{Name: "join_buffer_size", Of: engine.Memory, Least: 32 * kilobyte, Most: gigabyte, Part: 32,
		Meaning: "What one join without an index may take."},
	{Name: "tmp_table_size", Of: engine.Memory, Least: megabyte, Most: 4 * gigabyte, Part: 8,
		Meaning: "How large a temporary table becomes before it goes to the disk."},
	{Name: "max_heap_table_size", Of: engine.Memory, Least: megabyte, Most: 4 * gigabyte, Part: 8,
		Meaning: "How large a table in memory becomes."},
}

var timeTuning = engine.Tuning{
	{Name: "wait_timeout", Of: engine.Number, Least: 1, Most: 31536000, Default: "28800",
		Meaning: "After how many seconds a session is ended that says nothing."},
	{Name: "interactive_timeout", Of: engine.Number, Least: 1, Most: 31536000, Default: "28800",
		Meaning: "The same of a session that somebody types in."},
	{Name: "innodb_lock_wait_timeout", Of: engine.Number, Least: 1, Most: 3600, Default: "50",
		Meaning: "After how many seconds a statement that waits for a row gives up."},
	{Name: "lock_wait_timeout", Of: engine.Number, Least: 1, Most: 31536000, Default: "86400",
		Meaning: "After how many seconds a statement that waits for a table gives up."},
	{Name: "net_read_timeout", Of: engine.Number, Least: 1, Most: 3600, Default: "30",
		Meaning: "After how many seconds a client is given up that stops in the middle of a statement."},
	{Name: "net_write_timeout", Of: engine.Number, Least: 1, Most: 3600, Default: "60",
		Meaning: "After how many seconds a client is given up that does not take its rows."},
}

var queryTuning = engine.Tuning{
	{Name: "sql_mode", Of: engine.Text, Pattern: modes + `(,` + modes + `)*`, Example: "STRICT_TRANS_TABLES,NO_ZERO_DATE",
		Meaning: "How strict statements are read: a list of ERROR_FOR_DIVISION_BY_ZERO, NO_AUTO_VALUE_ON_ZERO, " +
			"NO_ENGINE_SUBSTITUTION, NO_ZERO_DATE, NO_ZERO_IN_DATE, ONLY_FULL_GROUP_BY, STRICT_ALL_TABLES and " +
			"STRICT_TRANS_TABLES. Sessions may choose further ones."},
	{Name: timeZone, Of: engine.Text, Pattern: `[+-](0[0-9]|1[0-2]):[0-5][0-9]|\+13:00|[A-Z][A-Za-z0-9_+/-]*`,
		Example: "Europe/London", Default: "+00:00", Meaning: "The time zone of sessions."},
	{Name: "transaction_isolation", Of: engine.Choice, Default: "REPEATABLE-READ",
		Values:  []string{"REPEATABLE-READ", "READ-COMMITTED", "READ-UNCOMMITTED", "SERIALIZABLE"},
		Meaning: "How much transactions see of each other."},
	{Name: "group_concat_max_len", Of: engine.Number, Least: 4, Most: 64 << 20,
		Meaning: "How many bytes GROUP_CONCAT returns at most."},
	{Name: "innodb_flush_log_at_trx_commit", Of: engine.Number, Least: 1, Most: 2, Default: "1",
		Meaning: "Whether a commit waits for the disk (1). With 2, what was committed in the last second may be lost when " +
			"the machine dies."},
	{Name: "innodb_strict_mode", Of: engine.Switch, Default: "on",
		Meaning: "Whether CREATE TABLE with options that do not go together is an error."},
	{Name: "innodb_ft_min_token_size", Of: engine.Number, Least: 0, Most: 16, Default: "3", Restart: true,
		Meaning: "How long words are that a full-text index holds. Build such indexes again after a change."},
	{Name: "innodb_ft_max_token_size", Of: engine.Number, Least: 10, Most: 84, Default: "84", Restart: true,
		Meaning: "How long words are at most that a full-text index holds."},
}

const modes = `(ERROR_FOR_DIVISION_BY_ZERO|NO_AUTO_VALUE_ON_ZERO|NO_ENGINE_SUBSTITUTION|NO_ZERO_DATE|NO_ZERO_IN_DATE|` +
	`ONLY_FULL_GROUP_BY|STRICT_ALL_TABLES|STRICT_TRANS_TABLES)`

// tuned returns the lines of my.cnf with what users chose in the place of lines of the same names, or behind them.
func tuned(lines []setting, all []engine.Chosen) []setting {
	for _, c := range all {
		i := slices.IndexFunc(lines, func(s setting) bool { return s.name == c.Name })
		if i < 0 {
			i, lines = len(lines), append(lines, setting{})
		}
		lines[i] = setting{c.Name, c.Value}
	}
	return lines
}
