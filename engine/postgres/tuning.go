package postgres

import (
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

const (
	kb, mb, gb  = int64(backstay.KB), int64(backstay.MB), int64(backstay.GB)
	second, day = int64(1000), int64(24 * 3600 * 1000)
)

// since says from which major version on PostgreSQL has a setting. The others are in all that are served.
var since = map[string]string{"hash_mem_multiplier": "13", "idle_session_timeout": "14"}

// Tuning returns the settings that the installation has. Most of them users may set in their sessions anyway: here they
// set what all sessions begin with. Those that name files, programs or libraries are not among them, nor those that
// would lose what was committed before, or have statements logged; nor is deadlock_timeout, on which withPriority
// counts.
func (Engine) Tuning(i engine.Installation) engine.Tuning {
	return slices.DeleteFunc(slices.Concat(memoryTuning, timeTuning, plannerTuning, vacuumTuning, sessionTuning),
		func(s engine.Setting) bool { return engine.CompareVersions(i.Version, since[s.Name]) < 0 })
}

var memoryTuning = engine.Tuning{
	{Name: "work_mem", Of: engine.Memory, Least: 64 * kb, Most: 4 * gb, Part: 8,
		Meaning: "What one sort or hash of a query may take before it goes to the disk."},
	{Name: "hash_mem_multiplier", Of: engine.Ratio, Least: 1, Most: 10,
		Meaning: "How many times work_mem a hash may take."},
	{Name: "maintenance_work_mem", Of: engine.Memory, Least: mb, Most: 16 * gb, Part: 4,
		Meaning: "What VACUUM, CREATE INDEX and the like may take."},
	{Name: "temp_buffers", Of: engine.Memory, Least: mb, Most: gb, Part: 16, Default: "8MB",
		Meaning: "What a session may take for temporary tables."},
	{Name: "effective_cache_size", Of: engine.Memory, Least: mb, Most: 1024 * gb, Part: 1,
		Meaning: "How much the planner believes that all caches hold."},
}

var timeTuning = engine.Tuning{
	{Name: "statement_timeout", Of: engine.Span, Most: 7 * day, Default: "0ms",
		Meaning: "After how long a statement is cancelled; 0ms never."},
	{Name: "lock_timeout", Of: engine.Span, Most: 7 * day, Default: "0ms",
		Meaning: "After how long a statement that waits for a lock is cancelled; 0ms never."},
	{Name: "idle_in_transaction_session_timeout", Of: engine.Span, Most: 7 * day, Default: "0ms",
		Meaning: "After how long a session is ended that does nothing within a transaction; 0ms never."},
	{Name: "idle_session_timeout", Of: engine.Span, Most: 7 * day, Default: "0ms",
		Meaning: "After how long a session is ended that does nothing outside of one; 0ms never."},
	{Name: "checkpoint_timeout", Of: engine.Span, Least: 30 * second, Most: 3600 * second, Default: "5min",
		Meaning: "How far checkpoints are apart: more means less writing, and a longer start after a crash."},
}

var plannerTuning = engine.Tuning{
	{Name: "random_page_cost", Of: engine.Ratio, Most: 1000, Default: "4",
		Meaning: "What a page costs that is read out of order, beside seq_page_cost."},
	{Name: "seq_page_cost", Of: engine.Ratio, Most: 1000, Default: "1",
		Meaning: "What a page costs that is read in order."},
	{Name: "default_statistics_target", Of: engine.Number, Least: 1, Most: 10000, Default: "100",
		Meaning: "How much ANALYZE looks at."},
	{Name: "effective_io_concurrency", Of: engine.Number, Most: 1000, Default: "1",
		Meaning: "How many pages a bitmap scan asks the disk for ahead."},
	{Name: "max_parallel_workers_per_gather", Of: engine.Number, Most: 8, Default: "2",
		Meaning: "How many processes may help with a part of a query; 0 none."},
	{Name: "max_parallel_maintenance_workers", Of: engine.Number, Most: 8, Default: "2",
		Meaning: "How many processes may help with CREATE INDEX or VACUUM; 0 none."},
	{Name: "jit", Of: engine.Switch, Default: "off",
		Meaning: "Whether long queries are compiled, for which each session takes 20 MB more."},
}

var vacuumTuning = engine.Tuning{
	{Name: "autovacuum_max_workers", Of: engine.Number, Least: 1, Most: 8, Default: "3", Restart: true,
		Meaning: "How many tables are vacuumed at once."},
	{Name: "autovacuum_naptime", Of: engine.Span, Least: second, Most: 3600 * second, Default: "1min",
		Meaning: "How often it is looked for tables to vacuum."},
	{Name: "autovacuum_vacuum_scale_factor", Of: engine.Ratio, Most: 1, Default: "0.2",
		Meaning: "Which part of a table has to change before it is vacuumed."},
	{Name: "autovacuum_analyze_scale_factor", Of: engine.Ratio, Most: 1, Default: "0.1",
		Meaning: "Which part of a table has to change before it is analyzed."},
	{Name: "autovacuum_vacuum_cost_limit", Of: engine.Number, Least: 1, Most: 10000, Default: "200",
		Meaning: "How much vacuuming does before it pauses."},
}

var sessionTuning = engine.Tuning{
	{Name: "timezone", Of: engine.Text, Pattern: `[A-Za-z][A-Za-z0-9_+/-]{0,63}`, Example: "Europe/London", Default: "UTC",
		Meaning: "The time zone in which sessions show and read times."},
	{Name: "search_path", Of: engine.Text, Pattern: `("\$user"|"?[A-Za-z_][A-Za-z0-9_]*"?)` +
		`(, ?("\$user"|"?[A-Za-z_][A-Za-z0-9_]*"?))*`, Example: "app, public", Default: `"$user", public`,
		Meaning: "The schemas in which names are looked up, one after the other."},
	{Name: "datestyle", Of: engine.Choice, Values: []string{"ISO, DMY", "ISO, MDY", "ISO, YMD", "German, DMY",
		"Postgres, DMY", "Postgres, MDY", "SQL, DMY", "SQL, MDY"}, Default: "ISO, MDY",
		Meaning: "How dates are written, and in which order their parts are read."},
	{Name: "intervalstyle", Of: engine.Choice, Default: "postgres",
		Values:  []string{"postgres", "postgres_verbose", "sql_standard", "iso_8601"},
		Meaning: "How intervals are written."},
	{Name: "bytea_output", Of: engine.Choice, Values: []string{"hex", "escape"}, Default: "hex",
		Meaning: "How values of bytea are written."},
	{Name: "default_transaction_isolation", Of: engine.Choice, Default: "read committed",
		Values:  []string{"read committed", "repeatable read", "serializable"},
		Meaning: "How much transactions see of each other."},
	{Name: "synchronous_commit", Of: engine.Switch, Default: "on",
		Meaning: "Whether a commit waits for the disk, and for the standby if there is one. With off, what was " +
			"committed in the last second may be lost in a crash or a failover; nothing is damaged."},
	{Name: "track_io_timing", Of: engine.Switch, Default: "off",
		Meaning: "Whether EXPLAIN (ANALYZE, BUFFERS) and statistics tell how long reading took."},
	{Name: "track_functions", Of: engine.Choice, Values: []string{"none", "pl", "all"}, Default: "none",
		Meaning: "Of which functions it is counted how often they were called."},
}

// tuningLines returns the lines of postgresql.conf for what users chose, and for the defaults of what takes a restart:
// without a line PostgreSQL would go on saying that a change which was taken back waits for one.
func tuningLines(i engine.Installation, all []engine.Chosen) []setting {
	var lines []setting
	for _, s := range (Engine{}).Tuning(i) {
		if s.Restart {
			lines = append(lines, setting{s.Name, s.Default})
		}
	}
	units := map[engine.Type]string{engine.Memory: "B", engine.Span: "ms"}
	for _, c := range all {
		lines = append(lines, setting{c.Name, c.Value + units[c.Of]})
	}
	return lines
}
