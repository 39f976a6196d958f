package pgserver

import (
	"encoding/binary"
	"time"
)

// What is read of a segment of the write-ahead log has been so since PostgreSQL 9.3: pages with a header each, and in
// them records, which begin at a multiple of eight bytes and go on over the ends of pages.
const (
	logPage         = 8192
	pageHeader      = 24
	firstPageHeader = 40 // of a segment
	pageContinues   = 1  // a record that has begun on the page before
	pageIsFirst     = 2
	recordHeader    = 24
	transactions    = 1 // the resource manager whose records are the ends of transactions
)

// Kinds of such a record, in four bits of it.
const (
	kindMask       = 0x70
	commits        = 0x00
	aborts         = 0x20
	commitsSecond  = 0x30 // the second phase of two
	abortsSecond   = 0x40
	shortData      = 255 // of the headers in a record: what follows behind them all is the data
	longData       = 254
	originHeader   = 253
	toplevelHeader = 252
)

// endTimes returns the earliest and the latest time at which a transaction has ended whose end is in a segment of the
// log. Both are zero if there is none.
func endTimes(segment []byte) (first, last time.Time) {
	r := logReader{segment: segment}
	for {
		header := r.next(recordHeader)
		if header == nil {
			return first, last
		}
		size := int(binary.LittleEndian.Uint32(header))
		if size < recordHeader || size > len(segment) {
			return first, last
		}
		body := r.next(size - recordHeader)
		if body == nil {
			return first, last
		}
		if ended, ok := endTime(header, body); ok {
			if first.IsZero() || ended.Before(first) {
				first = ended
			}
			if ended.After(last) {
				last = ended
			}
		}
		r.at = (r.at + 7) &^ 7
	}
}

// endTime returns when a transaction has ended, if the record is of such an end.
func endTime(header, body []byte) (ended time.Time, ok bool) {
	kind := header[16] & kindMask
	isEnd := kind == commits || kind == aborts || kind == commitsSecond || kind == abortsSecond
	if header[17] != transactions || !isEnd {
		return ended, false
	}
	for len(body) > 0 {
		skip, last := 0, false
		switch body[0] {
		case shortData:
			skip, last = 2, true
		case longData:
			skip, last = 5, true
		case originHeader:
			skip = 3
		case toplevelHeader:
			skip = 5
		}
		if skip == 0 || len(body) < skip {
			return ended, false
		}
		if body = body[skip:]; last {
			break
		}
	}
	if len(body) < 8 {
		return ended, false
	}
	since := time.Duration(binary.LittleEndian.Uint64(body)) * time.Microsecond
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(since), true
}

// logReader reads what is in the pages of a segment, without the headers of these and what has begun before.
type logReader struct {
	segment []byte
	at      int
	begin   uint64 // of the segment in the whole log
}

// next returns the next bytes, nil where the segment has no more.
func (r *logReader) next(count int) (got []byte) {
	got = make([]byte, 0, count)
	for len(got) < count {
		if r.at%logPage == 0 && !r.enter() {
			return nil
		}
		room := min(logPage-r.at%logPage, count-len(got))
		got = append(got, r.segment[r.at:r.at+room]...)
		r.at += room
	}
	return got
}

// enter passes the header of a page. In the first one, it passes the rest of a record that has begun before, too.
func (r *logReader) enter() bool {
	if len(r.segment)-r.at < logPage {
		return false
	}
	page := r.segment[r.at:]
	info, address := binary.LittleEndian.Uint16(page[2:]), binary.LittleEndian.Uint64(page[8:])
	begins := r.at == 0
	if begins {
		r.begin = address
	}
	isWritten := (page[0] != 0 || page[1] != 0) && address == r.begin+uint64(r.at) // else it is empty, or an old one
	r.at += pageHeader
	if info&pageIsFirst != 0 {
		r.at += firstPageHeader - pageHeader
	}
	if !isWritten {
		return false
	}
	if begins && info&pageContinues != 0 {
		rest := int(binary.LittleEndian.Uint32(page[16:]))
		if rest > len(r.segment) || r.next(rest) == nil {
			return false
		}
		r.at = (r.at + 7) &^ 7
		if r.at%logPage == 0 {
			return r.enter()
		}
	}
	return true
}
