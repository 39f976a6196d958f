package repository

import (
	"context"
	"strings"
	"time"

	"github.com/backstay/backstay"
)

// A gap of the archive that lies in a store is an object without content. Its name says all, so that nothing has to be
// read that may be damaged, and a gap that is noted twice is one.
const (
	gapPrefix = "gaps/"
	gapLayout = "20060102T150405.000000000Z"
)

func gapName(g backstay.Gap) string {
	return gapPrefix + g.From.UTC().Format(gapLayout) + "-" + g.Until.UTC().Format(gapLayout)
}

// gapOf is false for what is no gap.
func gapOf(name string) (g backstay.Gap, ok bool) {
	from, until, ok := strings.Cut(strings.TrimPrefix(name, gapPrefix), "-")
	if !ok {
		return g, false
	}
	var first, second error
	g.From, first = time.Parse(gapLayout, from)
	g.Until, second = time.Parse(gapLayout, until)
	return g, first == nil && second == nil
}

// Gaps returns the gaps of the archive, the oldest first.
func (s *Store) Gaps(ctx context.Context) (gaps []backstay.Gap, err error) {
	entries, err := s.List(ctx, gapPrefix)
	for _, e := range entries {
		if g, ok := gapOf(e.Name); ok {
			gaps = append(gaps, g)
		}
	}
	return gaps, err
}

// AddGaps notes gaps. One that goes on from the same moment takes the place of the one before.
func (s *Store) AddGaps(ctx context.Context, gaps []backstay.Gap) error {
	if len(gaps) == 0 {
		return nil
	}
	known, err := s.Gaps(ctx)
	if err != nil {
		return err
	}
	for _, g := range gaps {
		if _, err := s.PutText(ctx, gapName(g), nil); err != nil {
			return err
		}
		known = append(known, g)
	}
	var shorter []string
	for _, k := range known {
		for _, g := range gaps {
			if g.From.Equal(k.From) && g.Until.After(k.Until) {
				shorter = append(shorter, gapName(k))
			}
		}
	}
	return s.Delete(ctx, time.Now(), shorter...)
}

// DropGaps removes the gaps that had ended before a moment, which is when the oldest backup that is kept was ready.
func (s *Store) DropGaps(ctx context.Context, before time.Time) error {
	gaps, err := s.Gaps(ctx)
	if err != nil {
		return err
	}
	var over []string
	for _, g := range gaps {
		if g.Until.Before(before) {
			over = append(over, gapName(g))
		}
	}
	if len(over) == 0 {
		return nil
	}
	return s.Delete(ctx, time.Now(), over...)
}
