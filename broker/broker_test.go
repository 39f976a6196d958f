package broker_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/keeper/keepertest"
	"github.com/backstay/backstay/osb/osbtest"
)

func TestBroker(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, open)
}

// TestBrokerOverHTTP runs the contract on our broker as another platform has it.
func TestBrokerOverHTTP(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, func(t testing.TB) backstay.Broker { return osbtest.Serve(t, open(t)) })
}

// lacking is a backend on which no instance comes up.
type lacking struct{ backend.Backend }

func (l lacking) Apply(ctx context.Context, s backend.Spec) error {
	s.Version, s.Build = "0", "" // is not installed
	return l.Backend.Apply(ctx, s)
}

// notInstalled is what the keeper says of that version.
const notInstalled = "postgres 0 is not installed on this machine."

// TestCreateIsGivenUp sees an instance that cannot come up end as failed, with the reason and with
// nothing left of it.
func TestCreateIsGivenUp(t *testing.T) {
	t.Parallel()
	instances, _ := keepertest.Run(t, keepertest.Config(t, 1))
	b := openOn(t, lacking{instances})
	r := brokertest.NewRequest(t, b)
	if _, err := b.Provision(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ask := backstay.LastOperationRequest{InstanceID: r.InstanceID}
	op, err := b.LastOperation(ctx, ask)
	for err == nil && op.State == backstay.InProgress {
		op, err = b.AwaitOperation(ctx, ask, op)
	}
	if err != nil || op.State != backstay.Failed || op.Type != backstay.Create || op.Description != notInstalled {
		t.Errorf("ended as %+v, %v", op, err)
	}
	ask.Operation = "no key of ours"
	_, err = b.LastOperation(ctx, ask)
	wantKind(t, err, backstay.Invalid)
	if _, err := instances.Await(ctx, r.InstanceID, 0); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("something is left in the backend: %v", err)
	}
	_, err = b.Bind(ctx, backstay.BindRequest{InstanceID: r.InstanceID, BindingID: backstay.BindingID(uuid.NewString())})
	wantKind(t, err, backstay.Unavailable)
}

// TestNothingReadableIsStored looks for what must be sealed.
func TestNothingReadableIsStored(t *testing.T) {
	t.Parallel()
	b := open(t).(*broker.Broker)
	r := brokertest.MustProvision(t, b)
	id := backstay.BindingID(uuid.NewString())
	c, err := b.Bind(t.Context(), backstay.BindRequest{InstanceID: r.InstanceID, BindingID: id})
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.Store.Instance(t.Context(), r.InstanceID)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := b.Store.Binding(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(kept.Password), c.Credentials["password"].(string)) {
		t.Error("a password is stored as it is")
	}
	if strings.Contains(string(in.Spec), "PRIVATE KEY") || strings.Contains(string(in.Spec), "postgres") {
		t.Error("a Spec is stored as it is")
	}
}

// TestFetchBinding tells a binding to whoever may fetch it: while its instance is being changed, not before its user is
// made, and also where an earlier version of this program has kept nothing of what it told. Nothing of it lies readable.
func TestFetchBinding(t *testing.T) {
	t.Parallel()
	b := open(t).(*broker.Broker)
	offerings, err := b.Catalog(t.Context())
	must(t, err)
	if !offerings[0].BindingsRetrievable {
		t.Error("the catalog does not say that bindings can be fetched")
	}
	r := backstay.BindRequest{
		InstanceID: brokertest.MustProvision(t, b).InstanceID, BindingID: backstay.BindingID(uuid.NewString()),
		Parameters: json.RawMessage(`{"read_only":true}`),
	}
	bound, err := b.Bind(t.Context(), r)
	must(t, err)
	kept, err := b.Store.Binding(t.Context(), r.BindingID)
	if err != nil || strings.Contains(string(kept.Credentials), "password") {
		t.Errorf("credentials are stored as they are (%v)", err)
	}
	same := func(when string) {
		t.Helper()
		f, err := b.FetchBinding(t.Context(), backstay.FetchBindingRequest{InstanceID: r.InstanceID, BindingID: r.BindingID})
		must(t, err)
		if encoded(t, f.Credentials) != encoded(t, bound.Credentials) || string(f.Parameters) != string(r.Parameters) {
			t.Errorf("%s: the binding is told with other credentials, or with the parameters %s", when, f.Parameters)
		}
	}
	same("made")
	must(t, b.Store.KeepCredentials(t.Context(), r.BindingID, []byte{}))
	same("made by an earlier version")
	if kept, err := b.Store.Binding(t.Context(), r.BindingID); err != nil || len(kept.Credentials) == 0 {
		t.Errorf("what was told anew is not kept (%v)", err)
	}
	_, err = b.Update(t.Context(), backstay.UpdateRequest{
		InstanceID: r.InstanceID, Parameters: json.RawMessage(`{"reboot":true}`),
	})
	must(t, err)
	same("while the instance is changed")
	must(t, b.Store.KeepCredentials(t.Context(), r.BindingID, nil))
	_, err = b.FetchBinding(t.Context(), backstay.FetchBindingRequest{InstanceID: r.InstanceID, BindingID: r.BindingID})
	wantKind(t, err, backstay.NotFound)
}

func encoded(t *testing.T, c backstay.Credentials) string {
	t.Helper()
	text, err := json.Marshal(c)
	must(t, err)
	return string(text)
}

// TestReadOnlyBinding follows the parameter to the database, and a binding that is asked for again.
func TestReadOnlyBinding(t *testing.T) {
	t.Parallel()
	b := open(t).(*broker.Broker)
	r := backstay.BindRequest{
		InstanceID: brokertest.MustProvision(t, b).InstanceID, BindingID: backstay.BindingID(uuid.NewString()),
		Parameters: json.RawMessage(`{"read_only": true}`),
	}
	for _, given := range []string{
		`{"read_only": "true"}`, `{"read_only": 1}`, `{"read_only": null}`, `{"readonly": true}`, `true`,
	} {
		wrong := r
		wrong.Parameters = json.RawMessage(given)
		if _, err := b.Bind(t.Context(), wrong); backstay.KindOf(err) != backstay.Invalid {
			t.Errorf("%s: got %v, want Invalid", given, err)
		}
	}
	for range 2 {
		c, err := b.Bind(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if err := makeTable(t, c.Credentials); err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("a read-only binding makes a table: %v", err)
		}
	}
	kept, err := b.Store.Binding(t.Context(), r.BindingID)
	if err != nil || strings.Contains(string(kept.Parameters), "read_only") {
		t.Errorf("parameters are stored as they are (%v)", err)
	}
	other := r
	other.Parameters = nil
	if _, err := b.Bind(t.Context(), other); backstay.KindOf(err) != backstay.Taken {
		t.Errorf("the same binding with other parameters: got %v, want Taken", err)
	}
	other.BindingID, other.Parameters = backstay.BindingID(uuid.NewString()), json.RawMessage(`{"read_only": false}`)
	c, err := b.Bind(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if err := makeTable(t, c.Credentials); err != nil {
		t.Errorf("a binding that is not read-only: %v", err)
	}
}

func makeTable(t *testing.T, c backstay.Credentials) error {
	t.Helper()
	conn, err := connect(t, c)
	must(t, err)
	_, err = conn.Exec(t.Context(), "CREATE TABLE made (n int)")
	return err
}
