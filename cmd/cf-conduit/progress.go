package main

import (
	"fmt"
	"os"
	"time"

	"github.com/backstay/backstay"
)

// showProgress tells on a terminal how much has gone through, while a program reads from or writes to
// something else than the terminal. The returned function ends it.
func (s *session) showProgress() (finish func()) {
	if s.options.quiet || !isTerminal(os.Stderr) || isTerminal(os.Stdin) && isTerminal(os.Stdout) {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		begun := time.Now()
		shown := false
		for {
			select {
			case <-ticker.C:
				fmt.Fprintf(os.Stderr, "\r\033[K%s", s.progress(time.Since(begun)))
				shown = true
			case <-stop:
				if shown {
					fmt.Fprintf(os.Stderr, "\r\033[K%s\n", s.progress(time.Since(begun)))
				}
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

func (s *session) progress(d time.Duration) string {
	sent, got := s.sent.Load(), s.got.Load()
	megabytes := func(n float64) float64 { return n / float64(backstay.MB) }
	return fmt.Sprintf("conduit: %.1f MB sent, %.1f MB received in %v, %.1f MB/s", megabytes(float64(sent)),
		megabytes(float64(got)), d.Round(time.Second), megabytes(float64(sent+got)/d.Seconds()))
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}
