package redis

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Files below the data directory.
const (
	configFile      = "redis.conf"
	usersFile       = "users.acl"       // the server's, once it has run
	secretFile      = "operator.secret" // what operator proves itself with
	certificateFile = "server.crt"
	keyFile         = "server.key"
)

const (
	socketName = "redis.sock" // in the node's RunDir

	certificateSetting = "tls-cert-file"
	keySetting         = "tls-key-file"
	trustSetting       = "tls-ca-cert-file"
	endingSetting      = "shutdown-timeout"

	// reserve is how many more connections the server takes than the plan says, so that the operator gets in.
	// Redis keeps places free for nobody: clients may take these too until the operator comes, see makeRoom.
	reserve = 16

	// behindFront is how many more a server of several takes: a front before them lets in more clients than the plan
	// says, by less than that. Those that hold all that they get leave the places for the nodes that follow.
	behindFront = 112
)

// spare is how many more connections than the plan says the node takes.
func spare(n engine.Node) int {
	if n.Replication != nil {
		return reserve + behindFront
	}
	return reserve
}

// setting is one line of redis.conf.
type setting struct {
	name   string
	values []string
}

// value is the setting as CONFIG GET returns it.
func (s setting) value() string { return strings.Join(s.values, " ") }

// line is the setting as redis.conf takes it.
func (s setting) line() (string, error) {
	line := s.name
	for _, value := range s.values {
		quoted, err := quote(value)
		if err != nil {
			return "", fmt.Errorf("setting %s: %w", s.name, err)
		}
		line += " " + quoted
	}
	return line, nil
}

// settingsOf returns all lines of the node's redis.conf but that of whom it follows.
func settingsOf(n engine.Node) ([]setting, error) {
	s, err := parseSettings(n)
	if err != nil {
		return nil, err
	}
	return slices.Concat(network(n), keeping(n), growing(n, s), sending(n), linking(n), tuningLines(n, s.chosen)), nil
}

func config(n engine.Node, fenced bool) (string, error) {
	lines, err := settingsOf(n)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("# Written at each start by Backstay: changes made here do not last.\n")
	for _, s := range slices.Concat(lines, following(n, fenced)) {
		line, err := s.line()
		if err != nil {
			return "", err
		}
		b.WriteString(line + "\n")
	}
	return b.String(), nil
}

// network has the server listen for clients with TLS alone, and on a Unix socket for the operator.
func network(n engine.Node) []setting {
	clients := n.Port(engine.ClientPort)
	lines := []setting{
		{"port", []string{"0"}},
		{"unixsocket", []string{filepath.Join(n.RunDir, socketName)}},
		{"unixsocketperm", []string{"700"}},
		{"maxclients", []string{strconv.Itoa(n.Size.Connections + spare(n))}},
		{"protected-mode", []string{"no"}}, // nobody gets in without a user anyway
	}
	if len(clients.Listen) == 0 {
		return append(lines, setting{"bind", []string{""}})
	}
	return append(lines,
		setting{"bind", clients.Listen},
		setting{"tls-port", []string{strconv.Itoa(clients.Number)}},
		setting{certificateSetting, []string{filepath.Join(n.DataDir, certificateFile)}},
		setting{keySetting, []string{filepath.Join(n.DataDir, keyFile)}},
		setting{"tls-auth-clients", []string{"no"}},
		setting{"tls-protocols", []string{"TLSv1.2 TLSv1.3"}})
}

// sending says how the server sends a snapshot, which it does as to a replica: at once, without a file of its own, and
// without keeping changes afterwards. Its end does not wait for who reads it. One of several keeps changes, and its end
// waits a moment for those that follow it.
func sending(n engine.Node) []setting {
	kept, keptFor := "16384", "1"
	if n.Replication != nil {
		kept, keptFor = inBytes(backlog(n)), "3600"
	}
	return []setting{
		{"repl-diskless-sync", []string{"yes"}},
		{"repl-diskless-sync-delay", []string{"0"}},
		{"repl-backlog-size", []string{kept}},
		{"repl-backlog-ttl", []string{keptFor}},
		{endingSetting, []string{endingTime(n)}},
	}
}

// endingTime is for how many seconds an end waits for those that follow.
func endingTime(n engine.Node) string {
	if n.Replication != nil {
		return "2"
	}
	return "0"
}

// keeping says how data is kept. The server writes a change to the append-only file before it answers, and the file
// is synced within a second, unless users choose otherwise.
func keeping(n engine.Node) []setting {
	return []setting{
		{"daemonize", []string{"no"}},
		{"logfile", []string{""}}, // standard output
		{"loglevel", []string{"notice"}},
		{"dir", []string{n.DataDir}},
		{"aclfile", []string{filepath.Join(n.DataDir, usersFile)}},
		{"appendonly", []string{"yes"}},
		{"save", []string{""}},
		{"busy-reply-threshold", []string{strconv.FormatInt(scriptLimit.Milliseconds(), 10)}},
		{"enable-debug-command", []string{"no"}},
		{"enable-module-command", []string{"no"}},
		{"enable-protected-configs", []string{"no"}},
	}
}

// quote writes a value as redis.conf takes it. A value with a control character is an error: a line feed in it would
// begin another setting.
func quote(value string) (string, error) {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errors.New("control character in value")
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`, nil
}

// Bounds is more than twice the plan's memory: all of that is for keys, a rewrite of the file may copy each of them,
// and clients have buffers besides, as have nodes that follow.
func (Engine) Bounds(n engine.Node) engine.Bounds {
	memory := 2*n.Size.Memory + n.Size.Memory/2 + 128*backstay.MB + backlog(n) + outputLimit(n)
	return engine.Bounds{Memory: memory, Processes: 100}
}
