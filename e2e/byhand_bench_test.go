package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

// byHandServer is one that was set up by hand. Its mark stands in the command lines of all of its processes.
type byHandServer struct {
	mark string
	took time.Duration
	stop func()
}

// createBeside measures from the API call to "succeeded" and a first document, and what an instance holds idle, beside a
// server that is set up by hand. The marks stand in the command lines of an instance's processes. An instance may hold
// so many times that server's memory, and take so many times as long.
func createBeside(
	b *testing.B, l *life, byHand func(*testing.B) byHandServer, marks func(r *life) []string, memory, limit float64,
) {
	b.Helper()
	var ours, manual []time.Duration
	var held, bare float64
	for i := range max(b.N, 3) {
		other := byHand(b)
		manual, bare = append(manual, other.took), megabytesOf(b, other.mark)
		other.stop()
		r := l.resident(fmt.Sprintf("service-%d", i))
		begun := time.Now()
		r.create()
		r.bind()
		if err := r.begin().Keep(b.Context()); err != nil {
			b.Fatal(err)
		}
		ours, held = append(ours, time.Since(begun)), megabytesOf(b, marks(r)...)
		r.unbind()
		r.remove("/v3/service_instances/"+r.instance, "/v3/service_instances?guids="+r.instance)
	}
	b.ReportMetric(held, "MB")
	b.ReportMetric(bare, "baseline-MB")
	b.ReportMetric(memory*bare, "MB-allowed")
	report(b, median(ours), median(manual), limit)
}

var proportional = regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB`)

// megabytesOf is what the processes hold whose command lines have one of the marks in them. What several share counts
// once.
func megabytesOf(b *testing.B, marks ...string) (total float64) {
	b.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range all {
		text, err := os.ReadFile(path)
		isOne := func(mark string) bool { return bytes.Contains(text, []byte(mark)) }
		if err != nil || !slices.ContainsFunc(marks, isOne) {
			continue // it has ended, or is another one
		}
		held, err := os.ReadFile(filepath.Join(filepath.Dir(path), "smaps_rollup"))
		if match := proportional.FindSubmatch(held); err == nil && match != nil {
			kilobytes, _ := strconv.Atoi(string(match[1]))
			total += float64(kilobytes) / 1024
		}
	}
	return total
}
