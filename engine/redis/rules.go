package redis

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/engine"
)

// hashed returns a password as ACL rules take it: only its hash.
func hashed(password string) string { return fmt.Sprintf("#%x", sha256.Sum256([]byte(password))) }

// rules returns the ACL rules that make a user what u says, whatever it was before.
func rules(u engine.User) []string {
	return slices.Concat([]string{"reset", "on", hashed(u.Password.Reveal())}, rights(u.ReadOnly))
}

// rights returns the ACL rules that give a user the rights of its kind, whatever rights it had before. Its passwords
// stay.
func rights(readOnly bool) []string {
	allowed := mayAll
	if readOnly {
		allowed = mayRead
	}
	return slices.Concat([]string{"resetkeys", "resetchannels", "clearselectors", "-@all"}, allowed)
}

// mayAll is what bindings may. Commands that administer the server are refused, and MIGRATE, which would make
// the server connect to wherever a tenant likes, and SCRIPT DEBUG, by which it would wait for one client alone.
// What asks how the server is doing is allowed, and what wakes a session, as Amazon's ElastiCache allows it. CLIENT
// KILL is not: no rule can say whose session it may end, and a few clients that ended the operator's again and again
// kept their own unbinding waiting.
var mayAll = []string{
	"~*", "&*", "+@all", "-@admin", "-acl", "+acl|whoami", "-migrate", "-script|debug",
	"+role", "+lastsave", "+slowlog", "+latency", "+client|list", "+client|unblock", "+client|no-evict",
}

// mayRead is what read-only bindings may: to read every key, listen to every channel and ask about both, and about
// the server. They may not publish: whoever listens acts on it. Keys are theirs to read alone, whatever command
// gets at them; counting a HyperLogLog notes the count in it, so that has a rule of its own.
var mayRead = []string{
	"%R~*", "&*", "+@read", "+@connection", "+@transaction", "+@pubsub", "-publish", "-spublish",
	"-@admin", "-@dangerous", "+keys", "+sort_ro", "+info", "+role", "+time", "+acl|whoami", "+client|list",
	"+eval_ro", "+evalsha_ro", "+script|exists", "+fcall_ro", "+function|list", "+function|dump",
	"+lastsave", "+slowlog|get", "+slowlog|len", "+slowlog|help", "+latency|latest", "+latency|history",
	"+latency|graph", "+latency|doctor", "+latency|histogram", "+latency|help",
	"(~* +pfcount)",
}

// aclUser is one user as the server lists it.
type aclUser struct {
	name   string
	hashes []string // of its passwords, as rules give them: "#" and the hash
	writes bool     // it has the rights of a binding that may write
}

// parseUser reads a line of ACL LIST: the word "user", a name, and rules.
func parseUser(line string) aclUser {
	words := strings.Fields(line)
	u := aclUser{name: words[1], writes: slices.Contains(words, "+@all")}
	for _, word := range words[2:] {
		if strings.HasPrefix(word, "#") {
			u.hashes = append(u.hashes, word)
		}
	}
	return u
}

// isBinding tells whether the user is a binding's own.
func (u aclUser) isBinding() bool { return isFree(u.name) }

// isMirrored tells whether nodes that follow are to know the user too.
func (u aclUser) isMirrored() bool { return u.isBinding() || u.name == driller }

// rights are the user's by its kind.
func (u aclUser) rights() []string {
	if u.name == driller {
		return mayDrill
	}
	return rights(!u.writes)
}

// isFree tells whether a name means no user of ours.
func isFree(name string) bool {
	return name != operator && name != replicator && name != driller && !slices.Contains(nameless, name)
}

// setUser returns the command that applies rules to a user.
func setUser(name string, rules ...string) []any {
	command := []any{"ACL", "SETUSER", name}
	for _, rule := range rules {
		command = append(command, rule)
	}
	return command
}
