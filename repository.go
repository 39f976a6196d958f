package backstay

import "log/slog"

// Repository is where the backups and the archive of one instance lie: its part of a directory or of an object store.
// All that is in it is encrypted with a key that no other instance has.
type Repository struct {
	Dir     string       `json:"dir,omitempty"` // absolute; empty if there is an object store
	Objects *ObjectStore `json:"objects,omitempty"`
	Part    string       `json:"part,omitempty"` // the instance's own: its id
	Key     Secret       `json:"key,omitempty"`  // 64 hexadecimal digits
	// Identity is which repository it must be: any other, in the same place, is away. Empty: whichever it is.
	Identity string `json:"identity,omitempty"`
}

// LogValue is the repository without its secrets.
func (r Repository) LogValue() slog.Value { return RedactedValue(r) }

// IsZero tells that there is no repository.
func (r Repository) IsZero() bool { return r.Dir == "" && r.Objects == nil }

// Of is the part of a repository that belongs to an instance.
func (r Repository) Of(id InstanceID, key Secret) Repository {
	r.Part, r.Key = string(id), key
	return r
}

// RestorePoints is to what something can be restored.
type RestorePoints string

const (
	NoRestorePoints RestorePoints = ""        // it cannot be backed up
	Backups         RestorePoints = "backups" // there is no archive of what happens between them
	AnySecond       RestorePoints = "seconds" // since the oldest backup has ended
)

// ObjectStore is a place that speaks the protocol of Amazon's S3, over TLS.
type ObjectStore struct {
	Endpoint  string `json:"endpoint"` // host, or host:port
	Bucket    string `json:"bucket"`
	Prefix    string `json:"prefix,omitempty"` // of the names of all objects, without a slash at its ends
	Region    string `json:"region,omitempty"`
	AccessKey string `json:"access_key"`
	SecretKey Secret `json:"secret_key"`
	Authority string `json:"authority,omitempty"` // a file with the certificates to trust; empty: the machine's
}

// LogValue is the object store without its secret key.
func (o ObjectStore) LogValue() slog.Value { return RedactedValue(o) }
