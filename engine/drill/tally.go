package drill

import "time"

// Tally is what a drill has seen so far. Who holds one keeps it, for a process that comes after one that was killed.
type Tally struct {
	Kept    int64 `json:"kept"` // the number that was acknowledged last, or read
	Written int64 `json:"written"`
	Lost    int64 `json:"lost,omitempty"`
	At      int64 `json:"at"`               // when a write was acknowledged last, in nanoseconds since 1970
	Longest int64 `json:"longest"`          // between two of them, in nanoseconds
	Erased  bool  `json:"erased,omitempty"` // clients have deleted what was written
}

// find takes what is there in a new session: what was acknowledged and is not is lost. What is there though nobody was
// told counts as acknowledged from then on.
func (t *Tally) find(number int64) {
	t.Lost += max(0, t.Kept-number)
	t.Kept = number
}

// tell notes that the next number was acknowledged, so long after the one before.
func (t *Tally) tell(at time.Time, after time.Duration) {
	t.Kept++
	t.Written++
	t.At, t.Longest = at.UnixNano(), max(t.Longest, int64(after))
}
