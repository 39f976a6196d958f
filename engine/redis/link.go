package redis

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// replicator is the user that nodes log in as to the one that they follow. It may do nothing else.
const replicator = "replicator"

// trustFile holds the authority by which a node knows the one that it follows. The server has one port with TLS, and so
// one certificate: what it proves to other nodes is what it proves to clients.
const trustFile = "trusted.crt"

// systemTrust is the directory with the authorities that this machine trusts.
const systemTrust = "/etc/ssl/certs"

const replicaofSetting = "replicaof"

// nowhere is what a fenced node follows that is told of nobody to follow: nobody listens there.
var nowhere = engine.Source{Address: "127.0.0.1", Port: 0}

// linking has the server follow another over TLS and be followed. All nodes of an instance have these lines, whatever
// their part is: the part may change while they run.
func linking(n engine.Node) []setting {
	if n.Replication == nil {
		return nil
	}
	lines := []setting{
		{"tls-replication", []string{"yes"}},
		{trustSetting, []string{filepath.Join(n.DataDir, trustFile)}},
		{"masteruser", []string{replicator}},
		{"masterauth", []string{linkPassword(n)}},
		{"replica-announce-ip", []string{n.Replication.Name}}, // by which the primary lists it
		// What it had before goes when all of the primary's has come, without a file beside the data that stays.
		{"repl-diskless-load", []string{"swapdb"}},
		{"repl-timeout", []string{"10"}},
		{"repl-ping-replica-period", []string{"1"}},
		{"client-output-buffer-limit", []string{"replica", inBytes(outputLimit(n)), "0", "0"}},
	}
	if len(n.Ports) == 0 {
		return lines
	}
	if n.TLS.Authority == "" { // the operator's own certificate, whose authority is the machine's to know
		lines = append(lines, setting{"tls-ca-cert-dir", []string{systemTrust}})
	}
	return lines
}

// unlinked is what a server that was one of several takes to be the only one, while it runs.
func unlinked() []setting {
	return []setting{
		{"tls-replication", []string{"no"}},
		{"masteruser", []string{""}},
		{"masterauth", []string{""}},
		{"replica-announce-ip", []string{""}},
	}
}

// following is the line that has the server begin as one that follows: another node, or, where the data is fenced and
// the node is to follow nobody, nowhere.
func following(n engine.Node, fenced bool) []setting {
	switch {
	case n.Replication != nil && n.Replication.Follows != nil:
		return []setting{followLine(*n.Replication.Follows)}
	case fenced:
		return []setting{followLine(nowhere)}
	}
	return nil
}

func followLine(s engine.Source) setting {
	return setting{replicaofSetting, []string{s.Address, strconv.Itoa(s.Port)}}
}

// backlog is how much of its log a server of several keeps, for nodes that were away for a moment.
func backlog(n engine.Node) backstay.Bytes {
	if n.Replication == nil {
		return 0
	}
	return 32 * backstay.MB
}

// outputLimit is how much of its log a server keeps for a node that is slow to take it, as while that reads a copy.
func outputLimit(n engine.Node) backstay.Bytes {
	if n.Replication == nil {
		return 0
	}
	return max(64*backstay.MB, n.Size.Memory/4)
}

func inBytes(b backstay.Bytes) string { return strconv.FormatInt(int64(b), 10) }

// linkPassword is the replicator's, the same in all nodes of an instance.
func linkPassword(n engine.Node) string {
	mac := hmac.New(sha256.New, []byte(n.Replication.Link.Key.Reveal()))
	mac.Write([]byte("the password of Redis' replicator"))
	return hex.EncodeToString(mac.Sum(nil))
}

// trusted is the content of trustFile. Where the operator's certificate is its own authority, or brings it along, that
// is among them.
func trusted(n engine.Node) string {
	switch {
	case len(n.Ports) == 0:
		return n.Replication.Link.Authority
	case n.TLS.Authority == "":
		return n.TLS.Leaf
	}
	return n.TLS.Authority
}

// addLink adds to a node's files what several nodes have, and the mark of one that follows.
func addLink(files map[string]string, n engine.Node) {
	if n.Replication == nil {
		return
	}
	files[trustFile] = trusted(n)
	if n.Replication.Follows != nil {
		files[fenceFile] = followsNote
	}
}

// admitNodes returns the command by which the server lets those in that follow it, or nobody where it is the only one.
// In a server that may come to be followed they are let in beforehand.
func admitNodes(n engine.Node) []any {
	if n.Replication == nil {
		return []any{"ACL", "DELUSER", replicator}
	}
	return setUser(replicator, "reset", "on", hashed(linkPassword(n)), "+psync", "+replconf", "+ping")
}

// isLinked reports whether a running server is configured as one of several.
func isLinked(ctx context.Context, c *redis.Client) (bool, error) {
	const name = "tls-replication"
	has, err := c.ConfigGet(ctx, name).Result()
	return has[name] == "yes", err
}

// nodeName matches the names that engine.Replication allows.
var nodeName = regexp.MustCompile(`^[a-z0-9]{1,16}$`)

// checkLink is Invalid for a part among others that no server could have.
func checkLink(r *engine.Replication) error {
	if r == nil {
		return nil
	}
	if !nodeName.MatchString(r.Name) {
		return backstay.Errorf(backstay.Invalid, "%q cannot be the name of a node.", r.Name)
	}
	if _, err := tls.X509KeyPair([]byte(r.Link.Leaf), []byte(r.Link.Key.Reveal())); err != nil {
		return backstay.Wrapf(err, backstay.Invalid, "The certificate of the nodes does not go with its key.")
	}
	if r.Follows == nil {
		return nil
	}
	if _, err := netip.ParseAddr(r.Follows.Address); err != nil {
		return backstay.Wrapf(err, backstay.Invalid, "%q is not an address to follow.", r.Follows.Address)
	}
	return nil
}
