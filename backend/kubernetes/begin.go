package kubernetes

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// restorePoints is to what instances of an image can be restored.
func (c *Config) restorePoints(i Image) backstay.RestorePoints {
	if _, ok := c.Engines[i.Engine].(engine.HostedArchiver); !ok || c.Repository == nil {
		return backstay.NoRestorePoints
	}
	return backstay.AnySecond
}

// storeSuffix is behind the name of the Secret that opens the object store.
const storeSuffix = "-store"

// stores tells whether the pods have to do with the object store.
func (w wish) stores() bool {
	return w.repository != nil && (w.spec.Backup != nil || w.bring != nil && !w.bring.Clone && !w.bring.Done)
}

func (w wish) opener() *unstructured.Unstructured {
	return w.secret(storeSuffix, "Opaque", w.repository.secrets())
}

func (w wish) archive(spec map[string]any) {
	if w.stores() && w.spec.Backup != nil && w.line != "" && !w.unarchived {
		spec["backup"] = w.repository.backedUp(w.spec.Instance, w.line, nameOf(w.spec.Instance)+storeSuffix)
	}
}

// begin says how the data of a Cluster is made that is made now. Once it is there, it is as if it had been made new:
// what it came from may go.
func (w wish) begin(spec map[string]any) {
	switch {
	case w.bring == nil || w.bring.Done:
		spec["bootstrap"] = map[string]any{"initdb": map[string]any{
			// The operator insists on a database and an owner. Nobody uses them: see the engine's Establish.
			"database": manager, "owner": manager, "encoding": "UTF8", "localeCollate": "C", "localeCType": "C",
			"dataChecksums": true,
		}}
	case w.bring.Clone:
		bootstrap, source := w.bring.cloned()
		spec["bootstrap"], spec["externalClusters"] = bootstrap, []any{source}
	default:
		bootstrap, source := w.repository.restored(*w.bring, nameOf(w.spec.Instance)+storeSuffix)
		spec["bootstrap"], spec["externalClusters"] = bootstrap, []any{source}
	}
}

// cloned has a new Cluster copy a living one, as the operator's own standbys do: by its certificate for that, and to
// the name that the other one's certificate proves.
func (o origin) cloned() (bootstrap map[string]any, source map[string]any) {
	name := nameOf(o.Of)
	authority := name + "-authority"
	if o.Private {
		authority = name + "-ca"
	}
	key := func(secret, key string) map[string]any { return map[string]any{"name": secret, "key": key} }
	bootstrap = map[string]any{"pg_basebackup": map[string]any{
		"source": originName, "database": manager, "owner": manager,
	}}
	return bootstrap, map[string]any{
		"name": originName,
		"connectionParameters": map[string]any{
			"host": name + "-rw", "user": "streaming_replica", "dbname": "postgres", "sslmode": "verify-full",
		},
		"sslKey": key(name+"-replication", "tls.key"), "sslCert": key(name+"-replication", "tls.crt"),
		"sslRootCert": key(authority, "ca.crt"),
	}
}
