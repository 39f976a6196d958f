package front

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestNobodyIsKeptByWhatHangs: who has not logged in is waited for by nothing for ever, as a FerretDB that does not
// answer: connections would come in the places of those that have ended, and be kept too.
func TestNobodyIsKeptByWhatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gateway, hangs := net.Pipe()
		defer hangs.Close()
		began := time.Now()
		s := &session{gateway: gateway}
		err := s.relay(message{})
		if took := time.Since(began); err == nil || took < 30*time.Second || took > 5*time.Minute {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
