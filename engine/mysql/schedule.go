package mysql

import (
	"context"
	"database/sql"
	"regexp"
	"slices"
	"strings"
)

// schedule says which events of a database are switched off, by their names in lower case. A replica switches off all
// that are made or altered by what it runs, so who returns to a moment has to look up how they were meant.
type schedule map[string]bool

// readSchedule returns how the events are before anything is run.
func readSchedule(ctx context.Context, conn *sql.Conn) (schedule, error) {
	names, err := column(ctx, conn, "SELECT name FROM mysql.event WHERE status <> 'ENABLED'")
	s := schedule{}
	for _, name := range names {
		s[strings.ToLower(name)] = true
	}
	return s, err
}

// restore switches on the events that are on at the moment returned to.
func (s schedule) restore(ctx context.Context, conn *sql.Conn) error {
	names, err := column(ctx, conn, "SELECT name FROM mysql.event WHERE status = 'SLAVESIDE_DISABLED'")
	for _, name := range names {
		status := "ENABLED"
		if s[strings.ToLower(name)] {
			status = "DISABLED"
		}
		if err := run(ctx, conn, "UPDATE mysql.event SET status = '"+status+"' WHERE name = "+quoteText(name)); err != nil {
			return err
		}
	}
	return err
}

// follow notes what a statement changes.
func (s schedule) follow(statement string) {
	if !mayBeOfEvent.MatchString(statement) {
		return
	}
	all := words(statement)
	at := slices.Index(all, "EVENT")
	if at < 0 || slices.Contains(all[:at], "TABLE") {
		return
	}
	rest := all[at+1:]
	careful := len(rest) > 1 && rest[0] == "IF"
	for len(rest) > 0 && slices.Contains([]string{"IF", "NOT", "EXISTS"}, rest[0]) {
		rest = rest[1:]
	}
	name, rest := eventName(rest)
	_, known := s[name]
	switch all[0] {
	case "CREATE":
		if !careful || !known {
			s[name] = slices.Contains(rest, "DISABLE")
		}
	case "ALTER":
		off := s[name]
		if i := slices.Index(rest, "RENAME"); i >= 0 && i+2 < len(rest) {
			delete(s, name)
			name, _ = eventName(rest[i+2:])
		}
		s[name] = slices.Contains(rest, "DISABLE") || off && !slices.Contains(rest, "ENABLE")
	case "DROP":
		delete(s, name)
	}
}

// mayBeOfEvent matches statements that make, alter or drop an event, and some others.
var mayBeOfEvent = regexp.MustCompile(`(?is)^(?:\s|/\*|--|#|CREATE|ALTER|DROP).*\bEVENT\b`)

// eventName takes the name of an event, behind that of its database or not, from the words.
func eventName(all []string) (name string, rest []string) {
	if len(all) >= 3 && all[1] == "." {
		all = all[2:]
	}
	if len(all) == 0 {
		return "", nil
	}
	return strings.ToLower(strings.TrimPrefix(all[0], quoted)), all[1:]
}

// quoted precedes the words that were in quotes, which are none of the language.
const quoted = "\x00"

// word matches what a statement consists of. Comments whose content is run are no comments.
var word = regexp.MustCompile("(?s)" + `/\*M?!\d*|\*/|/\*.*?\*/|--[ \t][^\n]*|#[^\n]*|'(?:[^'\\]|\\.|'')*'|` +
	`"(?:[^"\\]|\\.|"")*"|` + "`(?:[^`]|``)*`" + `|[\pL\pN_$]+|\S`)

// words returns the words of a statement as far as the one behind which an event's own statement begins: in capitals,
// but those in quotes.
func words(statement string) (all []string) {
	for _, w := range word.FindAllString(statement, -1) {
		switch {
		case w == "*/", strings.HasPrefix(w, "/*"), strings.HasPrefix(w, "-- "), strings.HasPrefix(w, "--\t"), w[0] == '#':
		case w[0] == '`':
			all = append(all, quoted+strings.ReplaceAll(w[1:len(w)-1], "``", "`"))
		case w[0] == '\'' || w[0] == '"':
			all = append(all, quoted+w[1:len(w)-1])
		case strings.EqualFold(w, "DO"):
			return all
		default:
			all = append(all, strings.ToUpper(w))
		}
	}
	return all
}
