package kubernetes

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backstay/backstay"
)

// owedName is the Secret that keeps the note of an instance that went while the object store was away. It is all that
// the cluster has of it then, and goes when the store has been given the note.
func owedName(id backstay.InstanceID) string { return nameOf(id) + "-owed" }

// owedObject has no label of an instance: who removes what belongs to one leaves it there.
func owedObject(namespace string, id backstay.InstanceID, n note) (*unstructured.Unstructured, error) {
	n.Legacy.Policy.Key = ""
	text, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	o := newObject("v1", "Secret", namespace, owedName(id), id)
	o.SetLabels(map[string]string{managedBy: manager, owedLabel: string(id)})
	o.Object["type"] = "backstay/owed"
	o.Object["data"] = map[string]any{"note": base64.StdEncoding.EncodeToString(text)}
	return o, nil
}

// readOwedObject reads what owedObject has written.
func readOwedObject(o *unstructured.Unstructured) (id backstay.InstanceID, n note, err error) {
	text, err := base64.StdEncoding.DecodeString(text(o, "data", "note"))
	if err == nil {
		err = json.Unmarshal(text, &n)
	}
	id = n.Legacy.Instance
	if err == nil && owedName(id) != o.GetName() {
		err = fmt.Errorf("it is that of instance %q", id)
	}
	if err != nil {
		return id, n, fmt.Errorf("read %s: %w", o.GetName(), err)
	}
	return id, n, nil
}

// readOwed takes up the notes that are owed from before.
func (b *Backend) readOwed(ctx context.Context) error {
	held, err := b.list(ctx, secrets, owedLabel)
	if err != nil {
		return err
	}
	b.left.mu.Lock()
	defer b.left.mu.Unlock()
	for i := range held {
		id, n, err := readOwedObject(&held[i])
		if err != nil { // it stays as it is, for somebody to look at
			b.Log.Error("what is owed to the object store cannot be read", "error", err)
			continue
		}
		b.left.owed[id] = n
	}
	return nil
}

// oweNote has a note be written as soon as the object store takes it, whoever is killed until then.
func (b *Backend) oweNote(ctx context.Context, id backstay.InstanceID, n note) error {
	o, err := owedObject(b.Namespace, id, n)
	if err != nil {
		return err
	}
	if err := b.apply(ctx, o, false); err != nil {
		return err
	}
	b.left.mu.Lock()
	defer b.left.mu.Unlock()
	b.left.owed[id] = n
	select {
	case b.left.awake <- struct{}{}:
	default:
	}
	return nil
}

// owedNote is the note that is owed of an instance: it counts as if it were there.
func (b *Backend) owedNote(id backstay.InstanceID) (n note, owed bool) {
	b.left.mu.Lock()
	defer b.left.mu.Unlock()
	n, owed = b.left.owed[id]
	return n, owed
}

// payNotes writes the notes that are owed.
func (b *Backend) payNotes(ctx context.Context) error {
	b.left.mu.Lock()
	owed := maps.Clone(b.left.owed)
	b.left.mu.Unlock()
	for id, n := range owed {
		if err := b.payNote(ctx, id, n); err != nil {
			return err
		}
		if err := b.settleNote(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// payNote writes nothing of an instance that has come back: it looks after its part of the object store itself.
func (b *Backend) payNote(ctx context.Context, id backstay.InstanceID, n note) error {
	_, r, err := b.find(ctx, id)
	if err == nil && !r.Removing || absentIsFine(err) != nil {
		return err
	}
	part, err := b.part(id)
	if err != nil {
		return err
	}
	return writeNote(ctx, part, n)
}

// settleNote has a note be owed no longer.
func (b *Backend) settleNote(ctx context.Context, id backstay.InstanceID) error {
	if err := b.remove(ctx, secrets, owedName(id)); err != nil {
		return err
	}
	b.left.mu.Lock()
	defer b.left.mu.Unlock()
	delete(b.left.owed, id)
	return nil
}
