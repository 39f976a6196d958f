package pgserver

import (
	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Setting is a line of postgresql.conf.
type Setting struct{ Name, Value string }

// Sparing are settings of a full node: what is left of the disk is not for temporary files, nor for a long log, as
// deleting makes one.
func Sparing(n engine.Node) []Setting {
	few := Kilobytes(4 * SegmentSize)
	group := []Setting{{"temp_file_limit", Kilobytes(Temporary(n.Size))}, {"max_wal_size", few}}
	if n.Replication != nil { // a node that follows and is away is copied anew then
		group = append(group, Setting{"wal_keep_size", "0"}, Setting{"max_slot_wal_keep_size", few})
	}
	return group
}

// Temporary is what the temporary files of one query may take on a full node.
func Temporary(s backstay.Size) backstay.Bytes {
	return Clamp(s.Storage/200, 16*backstay.MB, backstay.GB)
}
