package redis

import (
	"bufio"
	"os"
	"regexp"
	"strings"

	"github.com/backstay/backstay/engine"
)

var (
	// logged is a line of the server: pid and role, date, a sign for the level, text.
	logged = regexp.MustCompile(`^\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ ([.\-*#]) (.*)$`)
	// ends is what the server says when it cannot go on.
	ends = regexp.MustCompile(`^(Failed|Fatal|FATAL|Can't|Cannot|Bad|Error|Unrecoverable|Aborting|Could not create|` +
		`Warning: Could not create|Redis \S+ crashed|Short read)`)
)

// Explain returns the last thing the server said that can end it; nothing if it has served since.
func (Engine) Explain(n engine.Node) string {
	f, err := os.Open(n.LogFile)
	if err != nil {
		return ""
	}
	defer f.Close()
	reason := ""
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if said, ok := verdict(lines.Text()); ok {
			reason = said
		}
	}
	return reason
}

// verdict returns what a line of the log says about the server's end; "" is that there is none.
func verdict(line string) (said string, ok bool) {
	match := logged.FindStringSubmatch(line)
	if match == nil {
		// Before it can log, the server complains of its configuration like this.
		return strings.TrimSuffix(line, "."), strings.HasPrefix(line, "Bad directive") || strings.HasPrefix(line, "Can't")
	}
	text := match[2]
	if strings.HasPrefix(text, "Ready to accept connections") || strings.HasSuffix(text, "bye bye...") {
		return "", true
	}
	return strings.TrimSuffix(text, "."), ends.MatchString(text)
}
