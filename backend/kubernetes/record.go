package kubernetes

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
)

// record is what is kept of an instance in a Secret of its own, made before anything else is and removed after
// everything else: whatever crashes, it says what is wanted and how far that has come.
type record struct {
	Spec    backend.Spec  `json:"spec"`
	Reached *backend.Spec `json:"reached,omitempty"` // that was reached last
	// Served says that there was data once. A Cluster that is gone is then not made anew: it would be empty.
	Served bool `json:"served,omitempty"`
	// Spread has nodes of one instance never share a machine. It is decided once, since a change would end them all.
	Spread   bool              `json:"spread,omitempty"`
	Port     int               `json:"port,omitempty"` // of the machines, where Exposure is by these
	Host     string            `json:"host,omitempty"` // of its load balancer, where Exposure is by one
	Reads    reading           `json:"reads,omitzero"`
	Build    string            `json:"build,omitempty"` // that serves: no other is chosen unless that is asked for
	Image    string            `json:"image,omitempty"` // that it is of
	Restarts asked             `json:"restarts,omitzero"`
	Handed   asked             `json:"handed,omitzero"` // of failovers
	Primary  string            `json:"primary,omitempty"`
	Failover *backend.Failover `json:"failover,omitempty"`
	Drops    []string          `json:"drops,omitempty"` // users to be dropped before it serves again
	Removing bool              `json:"removing,omitempty"`
	Keeping  keeping           `json:"keeping,omitzero"`
	Restores int64             `json:"restores,omitempty"` // that the data has had, see restoresOf
	Bring    *origin           `json:"bring,omitempty"`    // what the data comes from, or is to come from
	Raise    *raise            `json:"raise,omitempty"`    // the upgrade that goes on, or has failed
	Lacks    *lacking          `json:"lacks,omitempty"`    // the image that could not be had
	Kept     *kept             `json:"kept,omitempty"`     // to what it can return
	Stale    bool              `json:"stale,omitempty"`    // it was upgraded, and not refreshed yet
	Drill    *underway         `json:"drill,omitempty"`    // the drill under way, or not cleared away yet; nil: none is
	Drills   []backend.Drill   `json:"drills,omitempty"`   // the last that ended, the newest last
	// Discarded is that nobody wants a last backup, and Parted that what is to stay of the instance is settled.
	Discarded bool `json:"discarded,omitempty"`
	Parted    bool `json:"parted,omitempty"`
}

// asked is how often something was asked for that is done once each time.
type asked struct {
	Count int64     `json:"count"`           // so far
	Owed  bool      `json:"owed,omitempty"`  // the last one has not come true
	Noted bool      `json:"noted,omitempty"` // Since is that of the last one
	Since time.Time `json:"since,omitzero"`  // when the server that is to end had started; zero: none served
	From  string    `json:"from,omitempty"`  // the node that is to be the primary no longer
}

// LogValue is the record without what is secret.
func (r record) LogValue() slog.Value { return backstay.RedactedValue(r) }

// next is the record with another Spec wanted. A Spec that asks for more restarts or failovers than the one before asks
// for another one.
func (r record) next(s backend.Spec) record {
	if s.Restarts > r.Spec.Restarts {
		r.Restarts = asked{Count: r.Restarts.Count + 1, Owed: true}
	}
	if s.Failovers > r.Spec.Failovers {
		r.Handed = asked{Count: r.Handed.Count + 1, Owed: true}
	}
	r.Spec = s
	r.Served = r.Served || s.Served != nil
	return r
}

// hasReached tells whether the instance has come to that generation, or a newer one.
func (r record) hasReached(generation int64) bool {
	return r.Reached != nil && r.Reached.Generation >= generation
}

// standing is the Spec that the instance is held to where the wanted one cannot be.
func (r record) standing() backend.Spec {
	if r.Reached != nil {
		return *r.Reached
	}
	return r.Spec
}

// object is the Secret that keeps the record.
func (r record) object(namespace string) (*unstructured.Unstructured, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	o := newObject("v1", "Secret", namespace, recordName(r.Spec.Instance), r.Spec.Instance)
	o.SetLabels(map[string]string{managedBy: manager, recordLabel: string(r.Spec.Instance)})
	o.Object["type"] = "backstay/record"
	o.Object["data"] = map[string]any{"record": base64.StdEncoding.EncodeToString(text)}
	return o, nil
}

// readRecord reads what object has written.
func readRecord(o *unstructured.Unstructured) (r record, err error) {
	text, _, err := unstructured.NestedString(o.Object, "data", "record")
	if err != nil {
		return r, fmt.Errorf("read %s: %w", o.GetName(), err)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err == nil && recordName(r.Spec.Instance) != o.GetName() {
		err = fmt.Errorf("it is that of instance %q", r.Spec.Instance)
	}
	if err != nil {
		return r, fmt.Errorf("read %s: %w", o.GetName(), err)
	}
	return r, nil
}

// around is a new record of an instance that had another one, which is lost, with what of that can be seen: it would be
// restarted, or have another build, for nothing.
func (b *Backend) around(ctx context.Context, r record) (record, error) {
	if !r.Served {
		return r, nil
	}
	r.Keeping.Lost = b.Repository != nil
	o, err := b.get(ctx, clusters, nameOf(r.Spec.Instance))
	if err != nil || o == nil {
		return r, err
	}
	if name := lineOf(o); name != "" {
		r.Keeping.Lines = []line{{Name: name}}
	}
	r.Spread = text(o, "spec", "affinity", "podAntiAffinityType") == "required"
	if count, err := strconv.ParseInt(o.GetAnnotations()[restartedAt], 10, 64); err == nil {
		r.Restarts.Count = count
	}
	its := slices.IndexFunc(b.Images, func(i Image) bool {
		return i.Name == text(o, "spec", "imageName") && i.Version == r.Spec.Version
	})
	if its >= 0 {
		r.Build, r.Image = b.Images[its].FullVersion, b.Images[its].Name
	}
	return r, nil
}

// newObject is an object of an instance, with our labels.
func newObject(version, kind, namespace, name string, id backstay.InstanceID) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetAPIVersion(version)
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	o.SetLabels(map[string]string{managedBy: manager, instanceLabel: string(id)})
	return o
}
