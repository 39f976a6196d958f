package pgserver

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Nodes that follow connect to their primary as its bootstrap superuser, by the certificate that the nodes of an
// instance share, and for replication alone. A role of its own would be one that tenants could end the sessions of,
// since owner may end those of all roles but superusers'; and it would be part of the data, of copies and of backups.

// Files of a node that is one of several. The server works in its data directory, so that the paths that tenants could
// read in its settings are names alone.
const (
	linkCertificate = "link.crt"
	linkKey         = "link.key"
	serverAuthority = "server-authority.crt"

	identFile = "pg_ident.conf"

	// LinkAuthority is the file with the authority of what nodes prove to each other.
	LinkAuthority = "link-authority.crt"
)

// LinkFiles belong to the nodes of one instance, and into no copy that becomes another's.
var LinkFiles = []string{linkCertificate, linkKey, LinkAuthority, serverAuthority, StandbySignal}

// systemAuthorities is where Debian has those that the machine trusts.
const systemAuthorities = "/etc/ssl/certs/ca-certificates.crt"

// LinkRule lets whoever has the link's key in, from this machine.
const LinkRule = "hostssl replication " + Admin + " samehost cert map=link\n"

// Follows tells whether the node is one that follows another.
func Follows(n engine.Node) bool { return n.Replication != nil && n.Replication.Follows != nil }

// MakesData refuses to make data of nothing for a node that follows.
func MakesData(n engine.Node) error {
	if Follows(n) {
		return backstay.Errorf(backstay.Unavailable, "The data of a node that follows is missing: it is a copy.")
	}
	return nil
}

// AddLink adds to the files that configure a node what one of several needs. Least are settings of which a server that
// follows needs as much as its primary had, with what the node's plan gives; the files name all of these, so that
// nothing of it waits for a restart once the node is promoted.
func (s Server) AddLink(ctx context.Context, n engine.Node, files map[string]string, least map[string]int) error {
	r := n.Replication
	if r == nil {
		return nil
	}
	name, err := linkName(r.Link)
	if err != nil {
		return err
	}
	if !s.Fronted {
		files[identFile] += `link "` + name + `" ` + Admin + "\n"
	}
	files[linkCertificate], files[linkKey], files[LinkAuthority] = r.Link.Leaf, r.Link.Key.Reveal(), r.Link.Authority
	if n.TLS.Authority != "" {
		files[serverAuthority] = n.TLS.Authority
	}
	for _, line := range s.replicating(n) {
		value, err := QuoteSetting(line.value)
		if err != nil {
			return fmt.Errorf("setting %s: %w", line.name, err)
		}
		files[ServerFile] += line.name + " = " + value + "\n"
	}
	if Follows(n) {
		files[StandbySignal] = ""
		files[ServerFile], err = withLeast(ctx, n, files[ServerFile], least)
	}
	return err
}

// setting is one line of postgresql.conf.
type setting struct{ name, value string }

// linkName returns the name that the link's certificate proves.
func linkName(link backstay.Certificate) (string, error) {
	block, _ := pem.Decode([]byte(link.Leaf))
	if block == nil {
		return "", errors.New("the link's certificate is none")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", err
	}
	if name := c.Subject.CommonName; AccountName.MatchString(name) {
		return name, nil
	}
	return "", fmt.Errorf("the link's certificate is for %q, which is no name", c.Subject.CommonName)
}

// replicating has a node of several send its log, keep what a node needs that was away for a while, and follow. Whoever
// is away for longer is copied anew: a node that is lost must not fill the others' disks.
func (s Server) replicating(n engine.Node) []setting {
	r := n.Replication
	group := []setting{
		{"wal_keep_size", Kilobytes(4 * SegmentSize)},
		{"max_slot_wal_keep_size", Kilobytes(Clamp(n.Size.Storage/10, 8*SegmentSize, 32*backstay.GB))},
		{"wal_sender_timeout", "5s"},
		{"wal_receiver_timeout", "5s"},
		{"wal_receiver_status_interval", "1s"},
		{"wal_retrieve_retry_interval", "100ms"},
		// Those who read from a node that follows keep what they read from being cleaned up: otherwise they would be
		// ended again and again. What else is in the way of following, such as a table that was dropped, waits for
		// them a moment only, for a node that is behind takes longer to take over.
		{"hot_standby_feedback", "on"},
		{"max_standby_streaming_delay", "5s"},
		{"synchronous_standby_names", awaited(r.Awaits)},
	}
	if !s.Fronted && len(n.Port(engine.ClientPort).Listen) > 0 {
		group = append(group, setting{"ssl_ca_file", LinkAuthority})
	}
	if r.Follows != nil {
		group = append(group, setting{"primary_conninfo", s.conninfo(n)}, setting{"primary_slot_name", slotName(r.Name)})
	}
	return group
}

// awaited is the setting that has commits wait until the node of that name has them on its disk.
func awaited(name string) string {
	if name == "" {
		return ""
	}
	return "FIRST 1 (" + QuoteList([]string{name}) + ")"
}

// conninfo tells a node where its primary is and what both prove. The primary's certificate is the one that clients
// see, so it is for the endpoint's name.
func (s Server) conninfo(n engine.Node) string {
	r := n.Replication
	authority := serverAuthority
	if n.TLS.Authority == "" {
		authority = systemAuthorities
	}
	told := []setting{
		{"host", n.Endpoint.Host}, {"hostaddr", r.Follows.Address}, {"port", strconv.Itoa(r.Follows.Port)},
		{"user", Admin}, {"application_name", r.Name}, {"connect_timeout", "2"}, {"gssencmode", "disable"},
		{"sslmode", "verify-full"}, {"sslrootcert", authority}, {"sslcert", linkCertificate}, {"sslkey", linkKey},
		{"passfile", "none"}, // there is none; else clients of the standby would read the path of our own user's home
	}
	if s.Fronted { // who ends TLS there is to see by the first message that it is no client
		told = append(told, setting{"sslnegotiation", "direct"})
	}
	var b strings.Builder
	for _, t := range told {
		fmt.Fprintf(&b, " %s='%s'", t.name, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(t.value))
	}
	return b.String()[1:]
}

// slotName is that of the slot in which the primary notes how far the node of that name has come.
func slotName(node string) string { return "node_" + node }

// leastOf maps what the control file says that the log was written with to the settings of which a server that follows
// needs as much, or it would not start.
var leastOf = map[string]string{
	"max_connections setting": "max_connections", "max_locks_per_xact setting": "max_locks_per_transaction",
}

// withLeast adds to the configuration of a node that follows that it has as much room for sessions and locks as its
// primary had, also where its plan is smaller by now.
func withLeast(ctx context.Context, n engine.Node, config string, least map[string]int) (string, error) {
	if _, err := os.Lstat(filepath.Join(n.DataDir, "PG_VERSION")); errors.Is(err, fs.ErrNotExist) {
		return config, nil // it is to be copied
	}
	said, err := controlData(ctx, n)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil { // it is damaged: its server says so
		return config, nil
	}
	for line := range strings.Lines(said) {
		key, value, _ := strings.Cut(line, ":")
		name := leastOf[key]
		number, err := strconv.Atoi(strings.TrimSpace(value))
		if name != "" && err == nil {
			config += fmt.Sprintf("%s = '%d'\n", name, max(number, least[name]))
		}
	}
	return config, nil
}

// controlData returns what pg_controldata says, which runs with the rights of the node: the file is the server's.
func controlData(ctx context.Context, n engine.Node) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(n.Installation.Dir, "pg_controldata"), "-D", n.DataDir)
	cmd.Env, cmd.Dir = Environment, "/"
	if n.Account != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: n.Account.UID, Gid: n.Account.GID}}
	}
	said, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("pg_controldata: %w", err)
	}
	return string(said), nil
}
