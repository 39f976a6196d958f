package keeper_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay"
)

// noter is an app that commits numbers, each by itself.
type noter interface {
	note(ctx context.Context, n int) error // 0 makes the place for them
	noted(ctx context.Context) ([]int, error)
}

const (
	makeNotes = "CREATE TABLE IF NOT EXISTS noted (n integer PRIMARY KEY)"
	readNotes = "SELECT n FROM noted"
)

func (w postgresWriter) note(ctx context.Context, n int) (err error) {
	if n == 0 {
		_, err = w.Exec(ctx, makeNotes)
	} else {
		_, err = w.Exec(ctx, "INSERT INTO noted VALUES ($1)", n)
	}
	return err
}

func (w postgresWriter) noted(ctx context.Context) ([]int, error) {
	rows, err := w.Query(ctx, readNotes)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int])
}

func (w mysqlWriter) note(ctx context.Context, n int) (err error) {
	if n == 0 {
		_, err = w.ExecContext(ctx, makeNotes)
	} else {
		_, err = w.ExecContext(ctx, "INSERT INTO noted VALUES (?)", n)
	}
	return err
}

func (w mysqlWriter) noted(ctx context.Context) (all []int, err error) {
	rows, err := w.QueryContext(ctx, readNotes)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, rows.Err()
}

func (w redisWriter) note(ctx context.Context, n int) error {
	if n == 0 { // a set needs no place
		return nil
	}
	return w.SAdd(ctx, "noted", n).Err()
}

func (w redisWriter) noted(ctx context.Context) (all []int, err error) {
	members, err := w.SMembers(ctx, "noted").Result()
	for _, text := range members {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, err
}

// journal is what an app knows of the numbers from 1 that it has committed.
type journal struct {
	mu    sync.Mutex
	begun []time.Time // by number, when it began to commit it; that of 0 is nothing
	told  []time.Time // when it was told that it is committed; zero: it was told nothing
}

// keep commits numbers until ctx ends, through whatever happens to the instance.
func (j *journal) keep(ctx context.Context, p product, c backstay.Credentials) {
	for ctx.Err() == nil {
		w, err := p.open(ctx, c)
		for err == nil && ctx.Err() == nil {
			n := j.begin()
			if err = w.(noter).note(ctx, n); err == nil {
				j.tell(n)
			}
			time.Sleep(2 * time.Millisecond)
		}
		if w != nil {
			w.close()
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (j *journal) begin() (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.begun, j.told = append(j.begun, time.Now()), append(j.told, time.Time{})
	return len(j.begun) - 1
}

func (j *journal) tell(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.told[n] = time.Now()
}

// doubt forgets what the app was told between two moments.
func (j *journal) doubt(since, until time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for n, at := range j.told {
		if at.After(since) && at.Before(until) {
			j.told[n] = time.Time{}
		}
	}
}

// goBack has the journal go on as of an instance that has returned to a moment, so that no copy of a later one may hold
// what was begun between the two. It returns the journal of what was left.
func (j *journal) goBack(to time.Time) (left *journal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	left = &journal{begun: slices.Clone(j.begun), told: slices.Clone(j.told)}
	for n := range j.begun {
		if j.told[n].After(to) {
			j.told[n] = time.Time{}
		}
		if j.begun[n].After(to) {
			j.begun[n] = never
		}
	}
	return left
}

// never is later than all moments that are restored.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// next is when the app was told of a commit first behind a moment.
func (j *journal) next(behind time.Time) (at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, told := range j.told {
		if told.After(behind) && (at.IsZero() || told.Before(at)) {
			at = told
		}
	}
	return at
}

// last is when the app was told of a commit last.
func (j *journal) last() (at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, told := range j.told {
		if told.After(at) {
			at = told
		}
	}
	return at
}

// longest is the longest time since a moment in which the app was told of no commit.
func (j *journal) longest(since time.Time) (gap time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	told := slices.SortedFunc(slices.Values(j.told), time.Time.Compare)
	for _, at := range told {
		if at.After(since) {
			gap, since = max(gap, at.Sub(since)), at
		}
	}
	return gap
}

// length is how many numbers were begun.
func (j *journal) length() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.begun) - 1
}

// compare wants a copy to hold each number that the app was told of by from, and none that it began after until.
func (j *journal) compare(t *testing.T, copied []int, from, until time.Time) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	held := make([]bool, len(j.begun))
	for _, n := range copied {
		held[n] = true
	}
	var lost, early []string
	for n := 1; n < len(held); n++ {
		said := fmt.Sprintf("%d (%s, %s)", n, j.begun[n].UTC().Format(clock), j.told[n].UTC().Format(clock))
		switch {
		case !held[n] && !j.told[n].IsZero() && !j.told[n].After(from):
			lost = append(lost, said)
		case held[n] && j.begun[n].After(until):
			early = append(early, said)
		}
	}
	t.Logf("the copy of %s to %s holds %d of %d", from.UTC().Format(clock), until.UTC().Format(clock), len(copied), len(held)-1)
	if len(lost)+len(early) > 0 {
		t.Errorf("%d are lost, as %.5q, and %d are too early, as %.5q", len(lost), head(lost), len(early), head(early))
	}
}

const clock = "15:04:05.000000"

func head(all []string) []string { return all[:min(len(all), 5)] }
