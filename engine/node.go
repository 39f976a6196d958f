package engine

import (
	"encoding/json"
	"log/slog"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/strict"
)

// Node describes a database server as the keeper wants it: its process, with its companions, and its data directory.
type Node struct {
	Instance     backstay.InstanceID
	Installation Installation
	DataDir      string               // the engine's own, absolute; Prepare makes it in a directory that exists
	LogFile      string               // where the keeper appends what the process says on standard error
	RunDir       string               // exists, belongs to Account; short enough for a Unix socket in it
	CacheDir     string               // shared by all nodes of the engine on this machine: golden directories; exists
	Account      *Account             // nil: the keeper's own user (it is not root)
	Operator     string               // the operating system's name of who administers this machine's nodes: the keeper
	Ports        []Port               // where the node listens for clients; none: it is reached by Admin alone
	Endpoint     backstay.Endpoint    // what credentials say; it need not be where the node listens
	Admin        Admin                `json:"-"` // how we get in to administer the node while it runs
	TLS          backstay.Certificate // what the ports prove; empty when there are none
	Size         backstay.Size
	Used         bool            // there has been data: where it is missing, Prepare makes none in its place
	Archive      bool            // an Archiver follows it: what Archive needs of it is in force from its next start on
	Full         bool            // from its start on, a Refuser's node refuses what clients write
	Closed       bool            // it is Full, and begins without clients: they have filled it until it ended
	Settings     json.RawMessage // the engine's own, an object; nil is all defaults
	Replication  *Replication    // of a Replicator: nil of the only node of its instance
	// Background are files that a tool which works for the node and for which nobody waits opens and writes "0" to first:
	// so it enters a control group, in which it is bounded.
	Background []string `json:"-"`
}

// LogValue is the node without the certificate's key.
func (n Node) LogValue() slog.Value { return backstay.RedactedValue(n) }

// DecodeSettings decodes the node's settings into a struct with the settings that the engine knows. Fields of settings
// that are not given keep their values. The error is Invalid for everything else in the settings; its sentence names
// the product as the one that refuses it.
func (n Node) DecodeSettings(product string, into any) error {
	if len(n.Settings) == 0 {
		return nil
	}
	if err := strict.Unmarshal(n.Settings, into); err != nil {
		return backstay.Wrapf(err, backstay.Invalid, "The settings are not what %s takes: %s.", product, strict.Mistake(err))
	}
	return nil
}

// Account is the operating-system user that a node runs as. It need not be in the password database.
type Account struct {
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
}

// IDs returns the account as chown takes it: -1, which changes nothing, if there is none.
func (a *Account) IDs() (uid, gid int) {
	if a == nil {
		return -1, -1
	}
	return int(a.UID), int(a.GID)
}

// WithAuthority adds to credentials the authority that clients verify the node by, unless they know it by themselves.
func (n Node) WithAuthority(c backstay.Credentials) backstay.Credentials {
	if n.TLS.Authority != "" {
		c["ca_certificate"] = n.TLS.Authority
	}
	return c
}
