package engine

import (
	"encoding/json"
	"log/slog"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/strict"
)

// Node is one engine process, or one with its companions, and its data directory, as the keeper wants it.
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
	Settings     json.RawMessage // the engine's own, an object; nil is all defaults
}

// LogValue is the node without the certificate's key.
func (n Node) LogValue() slog.Value { return backstay.RedactedValue(n) }

// DecodeSettings makes of the node's settings what an engine knows of them; product is who refuses the rest. A
// setting that is not given stays as it is. The error is Invalid.
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

// IDs are the account as chown takes it: -1, which changes nothing, for none.
func (a *Account) IDs() (uid, gid int) {
	if a == nil {
		return -1, -1
	}
	return int(a.UID), int(a.GID)
}
