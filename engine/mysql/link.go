package mysql

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"hash/crc32"
	"math"
	"path/filepath"
	"strconv"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Nodes of one instance follow each other by MariaDB's own replication: by global transaction ids, which go on
// whichever node is the primary, and semi-synchronously, which means that a commit waits before it is seen until
// another node has it. Who follows logs in as linkUser, over TLS, with a password that is derived from the link's key.
// Each start of a server makes that account anew, so that it is neither what a binding can change nor part of what a
// backup restores.

// linkUser is no name that a binding can have, and comes in from this machine alone.
const (
	linkUser    = "backstay-link"
	linkAccount = "'" + linkUser + "'@'127.0.0.1'"
)

// linkPassword is as long as the server lets the password of one that follows be.
func linkPassword(r *engine.Replication) backstay.Secret {
	mac := hmac.New(sha256.New, []byte(r.Link.Key.Reveal()))
	mac.Write([]byte("backstay: a node of MariaDB follows another one"))
	return backstay.Secret(base64.RawURLEncoding.EncodeToString(mac.Sum(nil))[:32])
}

// letFollow returns the SQL that each start of a node of several runs.
func letFollow(n engine.Node) string {
	if n.Replication == nil {
		return ""
	}
	return "CREATE OR REPLACE USER " + linkAccount + " IDENTIFIED VIA mysql_native_password USING " +
		quoteText(hashed(linkPassword(n.Replication))) + " REQUIRE SSL;\n" +
		"GRANT REPLICATION SLAVE ON *.* TO " + linkAccount + ";\n"
}

func follows(n engine.Node) bool { return n.Replication != nil && n.Replication.Follows != nil }

// serverID is the number by which the server of a node marks what it commits. Names of up to four characters have
// different ones for certain.
func serverID(name string) uint32 { return min(max(crc32.ChecksumIEEE([]byte(name)), 2), nobodysID-1) }

const nobodysID = math.MaxUint32

// Files of a node that is one of several.
const (
	// fenceFile ends the configuration of a node that is to take no writes, whatever the rest of it says: one that
	// follows, and one that was the primary.
	fenceFile       = "fence.cnf"
	serverAuthority = "server-authority.crt" // of the certificate that its primary's clients see
	relayName       = "relay"                // of the files with what its primary has sent, and a number behind it
)

// systemAuthorities is where Debian has those that the machine trusts.
const systemAuthorities = "/etc/ssl/certs/ca-certificates.crt"

// fence has a server take no writes but from those who administer it, and run nothing that is scheduled. Where it has
// ended in the middle of a commit, that has not happened: nobody was told of it, since no other node was known to have
// it.
const fence = "# A server that reads this takes no writes.\n[mariadbd]\nread-only = ON\ninit-rpl-role = SLAVE\n" +
	"rpl_semi_sync_slave_enabled = ON\nrpl_semi_sync_master_enabled = OFF\nevent_scheduler = OFF\n" +
	readOnlySetting + " = OFF\n"

// fenceOf is that of a node. What a spare one has got, no commit waits for: its primary cannot tell which node says so.
func fenceOf(n engine.Node) string {
	if n.Replication != nil && n.Replication.Spare {
		return fence + "rpl_semi_sync_slave_enabled = OFF\n"
	}
	return fence
}

// replicating has a node of several send its log and follow. Names with a dash are those of no variable, so that a
// server which runs fenced stays so: see Promote.
func replicating(n engine.Node) []setting {
	r := n.Replication
	if r == nil {
		return nil
	}
	group := []setting{
		{"server_id", strconv.FormatUint(uint64(serverID(r.Name)), 10)},
		{"log_slave_updates", "ON"},
		{"gtid_strict_mode", "ON"}, // nobody commits what another node has under the same number
		{"skip-slave-start", "ON"}, // see begin: at its start, a server would forget what it was sent before
		{"relay_log", relayName},
		{"slave_net_timeout", "5"},
		// One that stops asks its primary to end the connection there, which may stand still.
		{"rpl_semi_sync_slave_kill_conn_timeout", "1"},
		{"slave_parallel_mode", "conservative"},
		{"slave_parallel_threads", parallel}, // one alone would be behind clients that commit at once
		{"slave_max_allowed_packet", "1G"},
		{"rpl_semi_sync_master_wait_point", "AFTER_SYNC"}, // nobody reads what the other node does not have
		{"rpl_semi_sync_master_timeout", strconv.Itoa(forEver)},
		{"rpl_semi_sync_master_wait_no_slave", "ON"},
		{"rpl_semi_sync_master_enabled", onOff(r.Follows == nil && r.Awaits != "")},
		{"rpl_semi_sync_slave_enabled", onOff(r.Follows != nil && !r.Spare)},
	}
	if r.Follows != nil {
		group = append(group, setting{"read-only", "ON"})
	}
	return group
}

// parallel is how many threads run what a node was sent.
const parallel = "4"

// forEver is for how many milliseconds a commit waits for another node.
const forEver = 4_000_000_000

func onOff(on bool) string {
	if on {
		return "ON"
	}
	return "OFF"
}

// authorityOf returns the file with the authority of the primary's certificate.
func authorityOf(n engine.Node) string {
	if n.TLS.Authority == "" {
		return systemAuthorities
	}
	return filepath.Join(n.DataDir, serverAuthority)
}

// isFor tells whether the certificate is for the address at which a node listens for those that follow. It is the one
// that clients see, who know another address.
func isFor(c backstay.Certificate, address string) (bool, error) {
	block, _ := pem.Decode([]byte(c.Leaf))
	if block == nil {
		return false, errors.New("the certificate is none")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	return err == nil && leaf.VerifyHostname(address) == nil, err
}
