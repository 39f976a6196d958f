package mongodb

import (
	"regexp"
	"strings"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/mongodb/front"
)

var (
	// serverLine matches a line of PostgreSQL itself. A session's line has "user@database" before the level.
	serverLine = regexp.MustCompile(`^\S+ \S+ \S+ \[\d+\] ([A-Z]+):  (.*)$`)
	// launcherLine matches a complaint of the shell, of the loader, or of PostgreSQL before it can log.
	launcherLine = regexp.MustCompile(`^(?:\S+: \d+: exec: )?(?:/\S*/)?(postgres: .+)$`)
	// killed matches what PostgreSQL says when the end of one of its processes takes all of it down.
	killed = regexp.MustCompile(`^\S.* \(PID \d+\) (was terminated by signal|exited with exit code) `)
	// works is what it says of processes that end so whenever it is told to stop, or another one takes it down.
	works = regexp.MustCompile(`^(background worker "|terminating )`)
)

// Explain returns the last line that says why the node ended or could not be started. It is empty if it has served
// since.
func (Engine) Explain(n engine.Node) string {
	reason := ""
	for line := range n.LogLines() {
		if said, ok := verdict(line); ok {
			reason = said
		}
	}
	return reason
}

// verdict returns what a line of the log says about the node's end, and whether it says anything. An empty text says
// that the node serves.
func verdict(line string) (said string, ok bool) {
	if text, ours := strings.CutPrefix(line, front.Said); ours {
		if text == front.Serves {
			return "", true
		}
		return text, true
	}
	if match := launcherLine.FindStringSubmatch(line); match != nil {
		return match[1], true
	}
	match := serverLine.FindStringSubmatch(line)
	if match == nil || works.MatchString(match[2]) {
		return "", false
	}
	level, text := match[1], match[2]
	return text, level == "FATAL" || level == "PANIC" || killed.MatchString(text)
}
