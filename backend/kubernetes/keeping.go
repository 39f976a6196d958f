package kubernetes

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/engine"
)

// keeping is what is noted of an instance's backups, in its record and, once there are any, in the object store.
type keeping struct {
	Lines   []line        `json:"lines,omitempty"` // of its history, the oldest first; the last one is in use
	Cut     bool          `json:"cut,omitempty"`   // nothing is archived now: another line begins when something is
	Asked   int64         `json:"asked,omitempty"` // the last Spec.Backups answered, if by a failure
	Begun   int64         `json:"begun,omitempty"` // backups so far
	Running *attempt      `json:"running,omitempty"`
	Failed  string        `json:"failed,omitempty"` // why the last backup could not be taken; empty: it was
	Proof   backend.Proof `json:"proof,omitzero"`
	Final   string        `json:"final,omitempty"` // the ID of the last backup, of an instance that is removed
	// Lost is that an earlier record is, and nobody has looked yet what the object store has: no line begins until then,
	// and none is taken for an earlier instance's.
	Lost bool `json:"lost,omitempty"`
}

// line is a history of an instance from one beginning of its data to the next: each return to an earlier moment begins
// another one, since the operator wants an archive for itself.
type line struct {
	Name string         `json:"name"`
	Mark engine.LogMark `json:"mark,omitzero"` // the last one that is in the archive
}

// attempt is a backup that is being taken.
type attempt struct {
	Name  string    `json:"name"`            // of the operator's object
	Line  string    `json:"line,omitempty"`  // in use when it began; empty: an earlier version began it
	Asked int64     `json:"asked,omitempty"` // the Spec.Backups that it answers
	Final bool      `json:"final,omitempty"`
	Began time.Time `json:"began"`
}

// current is the line in use; zero: there is none.
func (k keeping) current() line {
	if len(k.Lines) == 0 {
		return line{}
	}
	return k.Lines[len(k.Lines)-1]
}

// found is what is noted beside the backups of an instance whose record was lost. Behind that comes the line to which
// its Cluster archives; without one, another line begins.
func (k keeping) found(noted keeping) keeping {
	now := k.current()
	noted.Lost, noted.Running, noted.Begun = false, nil, max(noted.Begun, k.Begun)
	if now.Name == "" {
		noted.Cut = true
		return noted
	}
	its := func(l line) bool { return l.Name == now.Name }
	if i := slices.IndexFunc(noted.Lines, its); i >= 0 {
		now = noted.Lines[i]
	}
	noted.Lines, noted.Cut = append(slices.DeleteFunc(slices.Clone(noted.Lines), its), now), k.Cut
	return noted
}

// withLine has another line begin.
func (k keeping) withLine(now time.Time) keeping {
	name := now.UTC().Format("20060102T150405Z")
	for i := 2; slices.ContainsFunc(k.Lines, func(l line) bool { return l.Name == name }); i++ {
		name = fmt.Sprintf("%s-%d", now.UTC().Format("20060102T150405Z"), i)
	}
	k.Lines, k.Cut = append(slices.Clone(k.Lines), line{Name: name}), false
	return k
}

// marked has the mark be in the archive of the line in use.
func (k keeping) marked(m engine.LogMark) keeping {
	if len(k.Lines) > 0 {
		k.Lines = slices.Clone(k.Lines)
		k.Lines[len(k.Lines)-1].Mark = m
	}
	return k
}

// fingerprint tells keys of backups apart. Who has another key does not get them.
func fingerprint(key backstay.Secret) string {
	sum := sha256.Sum256([]byte("backstay backups " + key.Reveal()))
	return hex.EncodeToString(sum[:])
}

// tell is what is kept, as the contract has it. The list is all that is in the object store, the oldest first.
func (k keeping) tell(in backend.Backups, list []stored) backend.Backups {
	in.List, in.Gaps = []backstay.Backup{}, nil
	for _, s := range list {
		s.Final = s.ID == k.Final
		in.List = append(in.List, s.Backup)
	}
	in.Proof, in.Asked, in.Failed, in.Running = k.Proof, k.Asked, k.Failed, k.Running != nil
	var until time.Time
	for i, l := range k.Lines {
		end := l.reaches(list)
		if end.IsZero() {
			continue
		}
		until = end
		if i+1 < len(k.Lines) {
			in.Gaps = append(in.Gaps, backstay.Gap{From: end, Until: k.after(i, list, end.Add(time.Second))})
		}
	}
	if now := k.current(); !now.Mark.Seen.IsZero() && now.reaches(list).Equal(until) {
		until = now.Mark.Seen
	}
	in.Earliest, in.Latest = backup.Range(in.List, in.Gaps, until)
	return in
}

// reaches is the last moment that the line's backups and its archive lead to; zero: it has no backup.
func (l line) reaches(list []stored) (end time.Time) {
	for _, s := range list {
		if s.Line == l.Name && s.Ended.After(end) {
			end = s.Ended
		}
	}
	if mark := l.Mark.Reaches(); !end.IsZero() && mark.After(end) {
		end = mark
	}
	return end
}

// after is when the first backup of the lines behind line i was ready, or else otherwise.
func (k keeping) after(i int, list []stored, otherwise time.Time) time.Time {
	first := time.Time{}
	for _, s := range list {
		later := slices.ContainsFunc(k.Lines[i+1:], func(l line) bool { return l.Name == s.Line })
		if later && (first.IsZero() || s.Ended.Before(first)) {
			first = s.Ended
		}
	}
	if first.IsZero() {
		return otherwise
	}
	return first
}
