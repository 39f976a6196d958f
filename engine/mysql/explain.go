package mysql

import (
	"cmp"
	"regexp"
	"strings"

	"github.com/backstay/backstay/engine"
)

// launcherLine matches a complaint of the shell, of the loader, or of the server before it can log.
var launcherLine = regexp.MustCompile(`^(?:\S+: \d+: exec: )?(?:/\S*/)?((?:mariadbd|mysqld): .+)$`)

// Explain returns the error with which the server failed to start, or that took it down. It is empty if the server
// has served since.
func (Engine) Explain(n engine.Node) string {
	v := verdict{dialect: dialectOf(n.Installation)}
	for line := range n.LogLines() {
		v.read(line)
	}
	return v.reason
}

// verdict is what the lines of a log, as far as they were read, say about the server's end. The first error is the
// reason, and later ones follow from it. Once the server serves, clients can make it log errors, so from then on
// only errors count whose words no client chooses.
type verdict struct {
	dialect dialect
	reason  string
	serves  bool
}

func (v *verdict) read(line string) {
	if match := launcherLine.FindStringSubmatch(line); match != nil && !v.serves {
		v.reason = match[1]
		return
	}
	match := v.dialect.logged.FindStringSubmatch(line)
	if match == nil {
		return
	}
	level, text := match[2], match[3]
	own := match[1] == "0" && level != "ERROR" // of the thread that starts and ends it
	switch {
	case own && strings.HasPrefix(text, v.dialect.begins):
		v.reason, v.serves = "", false
	case own && strings.Contains(text, ": ready for connections."):
		v.reason, v.serves = "", true
	case level != "ERROR" || v.reason != "":
	case !v.serves, strings.HasPrefix(text, "[FATAL] InnoDB: "):
		v.reason = strings.TrimSuffix(strings.TrimSpace(text), ".")
	}
}

// verdictOf returns the first error in what a program said on standard error, or its last line if there is none.
func verdictOf(d dialect, said string) string {
	last := ""
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if match := d.logged.FindStringSubmatch(line); match != nil && match[2] == "ERROR" {
			return match[3]
		}
		if reason, ok := strings.CutPrefix(line, "ERROR: "); ok { // of a statement on standard input
			return reason
		}
		last = cmp.Or(line, last)
	}
	return last
}
