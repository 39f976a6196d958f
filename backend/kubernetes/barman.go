package kubernetes

import (
	"cmp"
	"fmt"
	"log/slog"
	"path"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
)

// What the operator's own means can do for backups, and how it lies in the object store, is in this file alone:
// CloudNativePG 1.28 has Barman built in, and what comes after it will not.

// Repository is the object store that instances are backed up to. What lies there is not sealed: the operator cannot.
type Repository struct {
	backstay.ObjectStore        // as it is reached from here
	Inside               string // the endpoint by which pods reach it; empty: the same
	Trusted              string // the certificates to trust, PEM: what is in the file Authority; empty: what images trust
}

// LogValue is the repository without its secret key.
func (r Repository) LogValue() slog.Value { return backstay.RedactedValue(r) }

// Keys of the Secret that pods read.
const (
	accessKeyName = "access-key"
	secretKeyName = "secret-key"
	regionName    = "region"
	trustedName   = "ca.crt"
)

// secrets is what the Secret of an instance tells its pods.
func (r Repository) secrets() map[string]string {
	data := map[string]string{accessKeyName: r.AccessKey, secretKeyName: r.SecretKey.Reveal()}
	if r.Region != "" {
		data[regionName] = r.Region
	}
	if r.Trusted != "" {
		data[trustedName] = r.Trusted
	}
	return data
}

// archive is how the operator is told of one line of an instance's history, which a Secret opens.
func (r Repository) archive(of backstay.InstanceID, line, secret string) map[string]any {
	key := func(name string) map[string]any { return map[string]any{"name": secret, "key": name} }
	credentials := map[string]any{"accessKeyId": key(accessKeyName), "secretAccessKey": key(secretKeyName)}
	if r.Region != "" {
		credentials["region"] = key(regionName)
	}
	a := map[string]any{
		"destinationPath": "s3://" + path.Join(r.Bucket, r.Prefix, string(of)), "serverName": line,
		"endpointURL": "https://" + cmp.Or(r.Inside, r.Endpoint), "s3Credentials": credentials,
	}
	if r.Trusted != "" {
		a["endpointCA"] = key(trustedName)
	}
	return a
}

// backedUp has the primary archive its log, and take backups: what a standby ends, it has to wait for.
func (r Repository) backedUp(of backstay.InstanceID, line, secret string) map[string]any {
	a := r.archive(of, line, secret)
	a["wal"] = map[string]any{"compression": "gzip"}
	a["data"] = map[string]any{"compression": "gzip", "immediateCheckpoint": true}
	return map[string]any{"target": "primary", "barmanObjectStore": a}
}

// lineOf is the line to which a Cluster archives; empty: it does not.
func lineOf(cluster *unstructured.Unstructured) string {
	return text(cluster, "spec", "backup", "barmanObjectStore", "serverName")
}

// restored has a new Cluster begin from a line, and follow it as far as the origin says.
func (r Repository) restored(o origin, secret string) (bootstrap map[string]any, source map[string]any) {
	target := map[string]any{"backupID": o.Backup}
	switch {
	case o.Alone:
		target["targetImmediate"] = true
	case !o.Until.IsZero():
		target["targetTime"] = o.Until.UTC().Format("2006-01-02 15:04:05.000000+00")
	}
	a := r.archive(o.Of, o.Line, secret)
	a["wal"] = map[string]any{"maxParallel": int64(4)}
	bootstrap = map[string]any{"recovery": map[string]any{
		"source": originName, "database": manager, "owner": manager, "recoveryTarget": target,
	}}
	return bootstrap, map[string]any{"name": originName, "barmanObjectStore": a}
}

// originName is what a Cluster calls what it begins from.
const originName = "origin"

// Where backups and the log lie in a line.
const (
	backupsWithin = "base/"
	logWithin     = "wals/"
	infoFile      = "backup.info"
)

// pieceOf is the piece of the log that an object holds, by the object's name; empty: it is something else.
func pieceOf(object string) string {
	const length = 24
	if name := path.Base(object); len(name) >= length && isHexadecimal(name[:length]) {
		return name[:length]
	}
	return ""
}

func isHexadecimal(text string) bool {
	return strings.Trim(text, "0123456789ABCDEF") == ""
}

// pieceWithin is where a piece of the log lies, in a line; what follows the name is how it is compressed.
func pieceWithin(piece string) string { return logWithin + piece[:min(16, len(piece))] + "/" + piece }

// stored is a backup in the object store.
type stored struct {
	backstay.Backup
	Line  string
	First string // the first piece of the log that it needs
}

// readInfo reads what Barman has written of a backup. It is not ok for one that is not whole.
func readInfo(id string, text []byte) (s stored, ok bool, err error) {
	said := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		said[name] = value
	}
	if said["status"] != "DONE" {
		return s, false, nil
	}
	s.ID, s.First = id, said["begin_wal"]
	if s.Began, err = parseMoment(said["begin_time"]); err != nil {
		return s, false, err
	}
	if s.Ended, err = parseMoment(said["end_time"]); err != nil {
		return s, false, err
	}
	if size, err := strconv.ParseInt(said["size"], 10, 64); err == nil {
		s.Data = backstay.Bytes(size)
	}
	version, err := strconv.Atoi(said["version"])
	if err != nil || pieceOf(s.First) == "" {
		return s, false, fmt.Errorf("it is of the version %q and begins with %q", said["version"], s.First)
	}
	s.Version = fmt.Sprintf("%d.%d", version/10000, version%10000)
	return s, true, nil
}

// parseMoment reads a time as Python writes it, or C.
func parseMoment(text string) (t time.Time, err error) {
	for _, layout := range []string{"2006-01-02 15:04:05-07:00", time.RFC3339, time.ANSIC} {
		if t, err = time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return t, err
}
