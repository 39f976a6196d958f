package cfapi

import (
	"time"

	"github.com/backstay/backstay/market"
)

// createdAts are the filters of a list by when its things were made.
var createdAts = []string{"created_ats", "created_ats[gt]", "created_ats[gte]", "created_ats[lt]", "created_ats[lte]"}

// created is the value of createdAts. Moments are shown as whole seconds, and compared as they are shown:
// what was made within a second is not later than it.
func (q query) created() (t market.Times, err error) {
	for _, c := range []struct {
		operator string
		plus     time.Duration
		narrow   func(at time.Time)
	}{
		{"[gt]", time.Second, func(at time.Time) { t.From = latest(t.From, at) }},
		{"[gte]", 0, func(at time.Time) { t.From = latest(t.From, at) }},
		{"[lt]", 0, func(at time.Time) { t.Before = earliest(t.Before, at) }},
		{"[lte]", time.Second, func(at time.Time) { t.Before = earliest(t.Before, at) }},
		{"", 0, func(at time.Time) { t.At = append(t.At, at) }},
	} {
		words := q.list("created_ats" + c.operator)
		if c.operator != "" && len(words) > 1 {
			return t, errBadQuery("Created ats only accepts one value when using an inequality filter")
		}
		for _, w := range words {
			at, err := time.Parse(time.RFC3339, w)
			if err != nil || !at.Equal(at.Truncate(time.Second)) {
				return t, errBadQuery("Created ats has an invalid timestamp format. Timestamps should be formatted as 'YYYY-MM-DDThh:mm:ssZ'")
			}
			c.narrow(at.Add(c.plus))
		}
	}
	return t, nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}
