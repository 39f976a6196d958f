package postgres

import (
	"regexp"
	"strings"

	"github.com/backstay/backstay/engine"
)

var (
	// serverLine matches a line of the server itself. A session's line has "user@database" before the level.
	serverLine = regexp.MustCompile(`^\S+ \S+ \S+ \[\d+\] ([A-Z]+):  (.*)$`)
	// launcherLine matches a complaint of the shell, of the loader, or of the server before it can log.
	launcherLine = regexp.MustCompile(`^(?:\S+: \d+: exec: )?(?:/\S*/)?(postgres: .+)$`)
	// killed matches what the server says when the end of one of its processes takes all of it down.
	killed = regexp.MustCompile(`^\S.* \(PID \d+\) (was terminated by signal|exited with exit code) `)
)

// Explain returns the last line that says why the server ended or could not be started. It is empty if the server has
// served since.
func (Engine) Explain(n engine.Node) string {
	reason := ""
	for line := range n.LogLines() {
		if said, ok := verdict(line); ok {
			reason = said
		}
	}
	return reason
}

// verdict returns what a line of the log says about the server's end, and whether it says anything. An empty text says
// that the server serves. Clients cannot make the server log a line that matches.
func verdict(line string) (said string, ok bool) {
	if match := launcherLine.FindStringSubmatch(line); match != nil {
		return match[1], true
	}
	match := serverLine.FindStringSubmatch(line)
	if match == nil {
		return "", false
	}
	level, text := match[1], match[2]
	switch {
	case text == "database system is ready to accept connections":
		return "", true
	case strings.HasPrefix(text, `background worker "logical replication launcher"`):
		return "", false // ends so whenever the server is told to stop
	case level == "FATAL", level == "PANIC", killed.MatchString(text):
		return text, true
	}
	return "", false
}
