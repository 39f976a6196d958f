package pgserver

import (
	"encoding/binary"
	"testing"
)

// FuzzTimesInTheLog: what a tenant's server has written may be anything.
func FuzzTimesInTheLog(f *testing.F) {
	page := make([]byte, logPage)
	binary.LittleEndian.PutUint16(page, 0xd110)
	page[2] = pageIsFirst
	binary.LittleEndian.PutUint32(page[firstPageHeader:], 34)
	page[firstPageHeader+17], page[firstPageHeader+recordHeader], page[firstPageHeader+recordHeader+1] = transactions, shortData, 8
	f.Add(page)
	f.Fuzz(func(_ *testing.T, segment []byte) { endTimes(segment) })
}
