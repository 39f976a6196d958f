package brokertest

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/backstay/backstay"
)

// bindAgain is the table of the specification for a second request of one id ("Binding", 200 to 409).
func bindAgain(t *testing.T, b backstay.Broker) {
	instance := MustProvision(t, b)
	r := newBinding(instance)
	first := mustBind(t, b, r)
	again, err := b.Bind(t.Context(), r)
	must(t, err)
	if again.Async || !again.Existed || !sameJSON(again.Credentials, first) {
		t.Errorf("the second Bind of one id is answered with Async %t, Existed %t, and the same credentials: %t",
			again.Async, again.Existed, sameJSON(again.Credentials, first))
	}
	other := r
	other.InstanceID = MustProvision(t, b).InstanceID
	_, err = b.Bind(t.Context(), other)
	wantKind(t, err, backstay.Taken)
}

func bindingsHaveTheirOwnCredentials(t *testing.T, b backstay.Broker) {
	r := MustProvision(t, b)
	if sameJSON(mustBind(t, b, newBinding(r)), mustBind(t, b, newBinding(r))) {
		t.Error("two bindings share their credentials")
	}
}

func unknownBindParameterIsInvalid(t *testing.T, b backstay.Broker) {
	r := newBinding(MustProvision(t, b))
	r.Parameters = json.RawMessage(`{"no_such_parameter": 1}`)
	_, err := b.Bind(t.Context(), r)
	wantKind(t, err, backstay.Invalid)
	if a, ok := b.(backstay.Admitter); ok {
		wantKind(t, a.AdmitBind(t.Context(), r), backstay.Invalid)
	}
	r.Parameters = nil // nothing is kept of it
	mustBind(t, b, r)
}

func unbindAgain(t *testing.T, b backstay.Broker) {
	r := newBinding(MustProvision(t, b))
	mustBind(t, b, r)
	mustUnbind(t, b, r)
	_, err := b.Unbind(t.Context(), unbind(r))
	wantKind(t, err, backstay.NotFound)
	_, err = b.FetchBinding(t.Context(), fetchBinding(r))
	wantKind(t, err, backstay.NotFound, backstay.Unsupported)
}

// unbindThroughAnother: a binding is one of an instance, and whoever names another one ends nothing.
func unbindThroughAnother(t *testing.T, b backstay.Broker) {
	r := newBinding(MustProvision(t, b))
	want := mustBind(t, b, r)
	wrong := unbind(r)
	wrong.InstanceID = MustProvision(t, b).InstanceID
	_, err := b.Unbind(t.Context(), wrong)
	wantKind(t, err, backstay.NotFound)
	if got := mustBind(t, b, r); !reflect.DeepEqual(got, want) {
		t.Error("the binding has other credentials than before")
	}
}

func fetchTellsABinding(t *testing.T, b backstay.Broker) {
	r := newBinding(MustProvision(t, b))
	c := mustBind(t, b, r)
	got, err := b.FetchBinding(t.Context(), fetchBinding(r))
	if !mustCatalog(t, b)[0].BindingsRetrievable {
		wantKind(t, err, backstay.Unsupported)
		return
	}
	must(t, err)
	if !sameJSON(got.Credentials, c) {
		t.Error("a binding that is fetched has other credentials")
	}
	if got.Parameters != nil {
		t.Errorf("a binding that was given no parameters is fetched with %s", got.Parameters)
	}
	for name, change := range map[string]func(*backstay.FetchBindingRequest){
		"one that never was": func(r *backstay.FetchBindingRequest) { r.BindingID += "0" },
		"one of another instance": func(r *backstay.FetchBindingRequest) {
			r.InstanceID = MustProvision(t, b).InstanceID
		},
		"one of no instance": func(r *backstay.FetchBindingRequest) { r.InstanceID += "0" },
	} {
		wrong := fetchBinding(r)
		change(&wrong)
		_, err := b.FetchBinding(t.Context(), wrong)
		if backstay.KindOf(err) != backstay.NotFound {
			t.Errorf("%s: %v; want NotFound", name, err)
		}
	}
}

// refusedBindingsAreNotFetched: what was asked for and never made is not there.
func refusedBindingsAreNotFetched(t *testing.T, b backstay.Broker) {
	r := newBinding(MustProvision(t, b))
	r.Parameters = json.RawMessage(`{"no_such_parameter": 1}`)
	_, err := b.Bind(t.Context(), r)
	wantKind(t, err, backstay.Invalid)
	_, err = b.FetchBinding(t.Context(), fetchBinding(r))
	wantKind(t, err, backstay.NotFound, backstay.Unsupported)
}
