package mysql

import (
	"bufio"
	"cmp"
	"errors"
	"os"
	"regexp"
	"strings"

	"github.com/backstay/backstay/engine"
)

var (
	// serverLine is a line of the server's own; thread 0 is that which starts and ends it.
	serverLine = regexp.MustCompile(`^\d{4}-\d\d-\d\d +\d+:\d\d:\d\d (\d+) \[([A-Za-z]+)\] (.*)$`)
	// launcherLine is what the shell, the loader or the program says before it can log.
	launcherLine = regexp.MustCompile(`^(?:\S+: \d+: exec: )?(?:/\S*/)?(mariadbd: .+)$`)
)

// Explain returns what the server said when it could not start, or that took it down; nothing if it
// has served since.
func (Engine) Explain(n engine.Node) string {
	f, err := os.Open(n.LogFile)
	if err != nil {
		return ""
	}
	defer f.Close()
	var v verdict
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadSlice('\n')
		v.read(strings.TrimRight(string(line), "\n"))
		for errors.Is(err, bufio.ErrBufferFull) { // the server's own lines are short
			_, err = lines.ReadSlice('\n')
		}
		if err != nil {
			return v.reason
		}
	}
}

// verdict is what a log says so far about the server's end. The first error is the reason; those after
// it only follow from it. Once the server serves, clients can make it log errors, so then only those
// count that no client can word.
type verdict struct {
	reason string
	serves bool
}

func (v *verdict) read(line string) {
	if match := launcherLine.FindStringSubmatch(line); match != nil && !v.serves {
		v.reason = match[1]
		return
	}
	match := serverLine.FindStringSubmatch(line)
	if match == nil {
		return
	}
	level, text := match[2], match[3]
	switch {
	case match[1] == "0" && level == "Note" && strings.HasPrefix(text, "Starting MariaDB "):
		*v = verdict{}
	case match[1] == "0" && level == "Note" && strings.HasSuffix(text, ": ready for connections."):
		*v = verdict{serves: true}
	case level != "ERROR" || v.reason != "":
	case !v.serves, strings.HasPrefix(text, "[FATAL] InnoDB: "):
		v.reason = strings.TrimSuffix(strings.TrimSpace(text), ".")
	}
}

// verdictOf is the first error that a program logged, or the last thing it said.
func verdictOf(said string) string {
	last := ""
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if match := serverLine.FindStringSubmatch(line); match != nil && match[2] == "ERROR" {
			return match[3]
		}
		if reason, ok := strings.CutPrefix(line, "ERROR: "); ok { // of a statement on standard input
			return reason
		}
		last = cmp.Or(line, last)
	}
	return last
}
