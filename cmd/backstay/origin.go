package main

import (
	"encoding/json"
	"flag"

	"github.com/backstay/backstay/broker/terms"
)

// originFlags say with which data of an instance another one begins. Times are such as the parameters of tenants. Nil
// is a flag that is not given: an empty text, as of a variable of a script that is not set, goes to the broker, which
// refuses it, since who means a time does not want the newest data.
type originFlags struct {
	at, before *string
	snapshot   bool
}

const originUsage = `  --at TIME                    its data of that second, UTC, as in "2026-11-01 12:00:05"
  --snapshot                   its newest backup
  --snapshot-before TIME       its newest backup that was ready before TIME
`

func addOrigin(fs *flag.FlagSet) *originFlags {
	f := new(originFlags)
	given := func(to **string) func(string) error {
		return func(text string) (err error) {
			if *to = &text; text != "" {
				_, err = terms.ParseMoment(text)
			}
			return err
		}
	}
	fs.Func("at", "", given(&f.at))
	fs.Func("snapshot-before", "", given(&f.before))
	fs.BoolVar(&f.snapshot, "snapshot", false, "")
	return f
}

// parameters are those by which the other instance is asked for. The parameter otherwise names the instance if no flag
// is given.
func (f *originFlags) parameters(of, otherwise string) (json.RawMessage, error) {
	asked := map[string]string{}
	switch {
	case f.at != nil && (f.snapshot || f.before != nil):
		return nil, usagef("--at names a second, and --snapshot a backup: one of them.")
	case f.at != nil:
		asked[momentOf], asked["restore_from_point_in_time_before"] = of, *f.at
	case f.before != nil:
		asked[snapshotOf], asked["restore_from_latest_snapshot_before"] = of, *f.before
	case f.snapshot:
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
