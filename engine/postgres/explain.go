package postgres

import (
	"bufio"
	"os"
	"regexp"
	"strings"

	"github.com/backstay/backstay/engine"
)

var (
	// serverLine is a line of the server's own; that of a session has "user@database" before the level.
	serverLine = regexp.MustCompile(`^\S+ \S+ \S+ \[\d+\] ([A-Z]+):  (.*)$`)
	// killed is what the server says of a process of its own that took it down.
	killed = regexp.MustCompile(`^\S.* \(PID \d+\) (was terminated by signal|exited with exit code) `)
)

// Explain returns the last thing the server said that can end it, or what the shell said when it
// could not start it; nothing if it has served since.
func (Engine) Explain(n engine.Node) string {
	f, err := os.Open(n.LogFile)
	if err != nil {
		return ""
	}
	defer f.Close()
	reason := ""
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if said, ok := verdict(lines.Text()); ok {
			reason = said
		}
	}
	return reason
}

// verdict returns what a line of the log says about the server's end; "" is that there is none.
func verdict(line string) (said string, ok bool) {
	match := serverLine.FindStringSubmatch(line)
	if match == nil {
		_, said, ok = strings.Cut(line, "postgres: ") // the shell's, or the loader's, of the program
		return said, ok
	}
	level, text := match[1], match[2]
	switch {
	case text == "database system is ready to accept connections":
		return "", true
	case level == "FATAL", level == "PANIC", killed.MatchString(text):
		return text, true
	}
	return "", false
}
