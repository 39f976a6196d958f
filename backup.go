package backstay

import "time"

// Backup is a copy of an instance in a repository.
type Backup struct {
	ID      string    `json:"id"`              // the engine's name for it
	Began   time.Time `json:"began"`           // UTC
	Ended   time.Time `json:"ended"`           // from then on, any second can be restored where there is an archive
	Data    Bytes     `json:"data"`            // of the instance
	Stored  Bytes     `json:"stored"`          // that it takes in the repository, without what it shares with others
	Version string    `json:"version"`         // the full version that made it
	Final   bool      `json:"final,omitempty"` // it is the last one, of an instance that is removed
	// Damaged is a sentence that says what is damaged of it, so that it is never restored; empty: nothing that was found.
	Damaged string `json:"damaged,omitempty"`
}

// Gap is a time of which an archive has nothing.
type Gap struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}
