package state

import (
	"fmt"

	"github.com/backstay/backstay/window"

	"github.com/jackc/pgx/v5/pgtype"
)

// weekly and daily are windows as columns of text have them: as users write them, and empty for none.
type (
	weekly struct{ *window.Weekly }
	daily  struct{ *window.Daily }
)

func (w weekly) TextValue() (pgtype.Text, error) {
	if *w.Weekly == (window.Weekly{}) {
		return pgtype.Text{Valid: true}, nil
	}
	return pgtype.Text{String: w.String(), Valid: true}, nil
}

func (w weekly) ScanText(t pgtype.Text) (err error) {
	if *w.Weekly = (window.Weekly{}); t.String == "" {
		return nil
	}
	if *w.Weekly, err = window.ParseWeekly(t.String); err != nil {
		return fmt.Errorf("read maintenance window: %w", err)
	}
	return nil
}

func (d daily) TextValue() (pgtype.Text, error) {
	if *d.Daily == (window.Daily{}) {
		return pgtype.Text{Valid: true}, nil
	}
	return pgtype.Text{String: d.String(), Valid: true}, nil
}

func (d daily) ScanText(t pgtype.Text) (err error) {
	if *d.Daily = (window.Daily{}); t.String == "" {
		return nil
	}
	if *d.Daily, err = window.ParseDaily(t.String); err != nil {
		return fmt.Errorf("read backup window: %w", err)
	}
	return nil
}
