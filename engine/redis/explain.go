package redis

import (
	"regexp"
	"strings"

	"github.com/backstay/backstay/engine"
)

var (
	// logged matches a line of the server's log: pid and role, date, a sign for the level, text.
	logged = regexp.MustCompile(`^\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ ([.\-*#]) (.*)$`)
	// ends matches the text of a line that says why the server cannot go on.
	ends = regexp.MustCompile(`^(Failed|Fatal|FATAL|Can't|Cannot|Bad|Error|Unrecoverable|Aborting|Could not create|` +
		`Warning: Could not create|Redis \S+ crashed|Short read)`)
	// passes matches those that begin like one of these, and are of a node that does not reach the one it follows.
	passes = regexp.MustCompile(`^Error (condition on socket for SYNC|reply to PING)`)
)

// Explain returns the last line that says why the server could not go on. It is empty if the server has served since.
func (Engine) Explain(n engine.Node) string {
	reason := ""
	for line := range n.LogLines() {
		if said, ok := verdict(line); ok {
			reason = said
		}
	}
	return reason
}

// verdict returns what a line of the log says about the server's end, and whether it says anything. An empty text
// says that the server serves, or was told to end.
func verdict(line string) (said string, ok bool) {
	match := logged.FindStringSubmatch(line)
	if match == nil {
		// Before the server can log, it complains of its configuration in lines without a date.
		return strings.TrimSuffix(line, "."), strings.HasPrefix(line, "Bad directive") || strings.HasPrefix(line, "Can't")
	}
	text := match[2]
	if strings.HasPrefix(text, "Ready to accept connections") || strings.HasSuffix(text, "bye bye...") {
		return "", true
	}
	return strings.TrimSuffix(text, "."), ends.MatchString(text) && !passes.MatchString(text)
}
