package mux

import (
	"errors"
	"time"
)

var errSilent = errors.New("the other end does not answer")

// watch pings, and ends a session that is not answered.
func (s *Session) watch() {
	ticker := time.NewTicker(s.config.Interval)
	defer ticker.Stop()
	for {
		if !s.ping() {
			s.end(errSilent, s.carrier.Close)
			return
		}
		select {
		case <-s.ended:
			return
		case <-ticker.C:
		}
	}
}

// ping asks once, and tells whether the answer may still come.
func (s *Session) ping() bool {
	s.mu.Lock()
	pinged := s.pinged
	if pinged.IsZero() {
		s.pinged = time.Now()
	}
	s.mu.Unlock()
	if pinged.IsZero() {
		return s.send(frame{kind: kindPing}) == nil
	}
	return time.Since(pinged) < s.config.Patience
}

func (s *Session) ponged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pinged.IsZero() {
		s.rtt.Store(int64(time.Since(s.pinged)))
		s.pinged = time.Time{}
	}
}
