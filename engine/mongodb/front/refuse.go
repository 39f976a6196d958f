package front

import (
	"os"
	"sync"

	"github.com/FerretDB/wire/wirebson"

	"github.com/backstay/backstay/engine/door"
)

// What the front of a full node refuses. Nothing of it is FerretDB's, whose sessions with PostgreSQL are shared by all
// clients: none could be told that it may only delete.
const (
	Growing  = "growing"  // what takes room
	Deleting = "deleting" // that, and documents that are deleted: the room for the log of it is used up
)

// errFull is MongoDB's own where a disk is full.
var errFull = &refusal{code: 14031, name: "OutOfDiskSpace", goesOn: true,
	sentence: "The storage of the service instance is used up, and what takes more is refused. Drop collections, or " +
		"choose a larger plan."}

// watched is the configuration as it is now.
type watched struct {
	path string

	mu     sync.Mutex
	read   os.FileInfo // nil: it was not
	config Config
}

// now reads it again where the file is another one, and is what was read last where there is none.
func (w *watched) now() Config {
	w.mu.Lock()
	defer w.mu.Unlock()
	is, err := os.Stat(w.path)
	if err != nil || w.read != nil && os.SameFile(is, w.read) && is.ModTime().Equal(w.read.ModTime()) {
		return w.config
	}
	if c, err := door.ReadConfig[Config](w.path); err == nil {
		w.read, w.config = is, c
	}
	return w.config
}

// isRefused tells whether a front refuses the message that refuses that. A long message is known by its name alone, as
// one that looks for documents to be written elsewhere is not.
func (m *message) isRefused(refuses string) bool {
	switch {
	case refuses == "":
		return false
	case m.takesRoom():
		return true
	}
	return refuses == Deleting && (m.name == "delete" || m.removes() || m.name == "compact")
}

// takesRoom tells whether data becomes more by a message.
func (m *message) takesRoom() bool {
	switch m.name {
	case "insert", "update", "create", "createIndexes", "reIndex":
		return true
	case "findAndModify", "findandmodify":
		return !m.removes()
	case "aggregate":
		return m.command != nil && writesElsewhere(m.command)
	}
	return false
}

// removes tells whether it finds a document to delete it.
func (m *message) removes() bool {
	finds := m.name == "findAndModify" || m.name == "findandmodify"
	return finds && m.command != nil && m.command.Get("remove") == true
}

// writesElsewhere tells whether an aggregation has a stage that writes what it finds.
func writesElsewhere(command *wirebson.Document) bool {
	raw, ok := command.Get("pipeline").(wirebson.AnyArray)
	if !ok {
		return false
	}
	pipeline, err := raw.Decode()
	if err != nil {
		return false // FerretDB cannot read it either
	}
	for value := range pipeline.Values() {
		raw, ok := value.(wirebson.AnyDocument)
		if !ok {
			continue
		}
		stage, err := raw.Decode()
		if err == nil && (stage.Get("$out") != nil || stage.Get("$merge") != nil) {
			return true
		}
	}
	return false
}
