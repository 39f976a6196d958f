package main

import (
	"encoding/json"
	"flag"
)

// originFlags say with which data of an instance another one begins. Times are read by the broker, as it reads the
// parameters of tenants.
type originFlags struct {
	at, before *string
	snapshot   *bool
}

const originUsage = `  --at TIME                    its data of that second, UTC, as in "2026-11-01 12:00:05"
  --snapshot                   its newest backup
  --snapshot-before TIME       its newest backup that was ready before TIME
`

func addOrigin(fs *flag.FlagSet) originFlags {
	return originFlags{fs.String("at", "", ""), fs.String("snapshot-before", "", ""), fs.Bool("snapshot", false, "")}
}

// parameters are those by which the other instance is asked for. The parameter otherwise names the instance if no flag
// is given.
func (f originFlags) parameters(of, otherwise string) (json.RawMessage, error) {
	asked := map[string]string{}
	switch {
	case *f.at != "" && (*f.snapshot || *f.before != ""):
		return nil, usagef("--at names a second, and --snapshot a backup: one of them.")
	case *f.at != "":
		asked[momentOf], asked["restore_from_point_in_time_before"] = of, *f.at
	case *f.before != "":
		asked[snapshotOf], asked["restore_from_latest_snapshot_before"] = of, *f.before
	case *f.snapshot:
		asked[snapshotOf] = of
	default:
		asked[otherwise] = of
	}
	return json.Marshal(asked)
}

// These parameters name the instance whose data a new one begins with.
const (
	momentOf   = "restore_from_point_in_time_of"
	snapshotOf = "restore_from_latest_snapshot_of"
	cloneOf    = "clone_of"
)
