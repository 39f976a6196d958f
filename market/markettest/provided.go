package markettest

import (
	"bytes"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/market"
)

// mustProvide adds a user-provided instance with credentials.
func (f *fixture) mustProvide(t *testing.T, name string) backstay.Instance {
	t.Helper()
	in, err := f.AddUserProvided(t.Context(), f.newUserProvided(name), []byte("sealed"), none)
	must(t, err)
	return in
}

func (f *fixture) newUserProvided(name string) backstay.Instance {
	return backstay.Instance{
		ID: backstay.InstanceID(uuid.NewString()), Type: backstay.UserProvided, SpaceID: f.space.ID, Name: name,
		Tags:           []string{"a"},
		SyslogDrainURL: "syslog://logs.example.org", RouteServiceURL: "https://gate.example.org",
	}
}

func userProvidedInstancesAreThereAtOnce(t *testing.T, f *fixture) {
	in := f.mustProvide(t, "ledger")
	if in.Type != backstay.UserProvided || in.PlanID != "" || in.LastOperation.State != backstay.Succeeded ||
		in.SyslogDrainURL != "syslog://logs.example.org" {
		t.Errorf("added %+v", in)
	}
	managed := f.mustHave(t, "db")
	l, err := f.Instances(t.Context(), market.InstanceFilter{Types: []backstay.InstanceType{backstay.UserProvided}})
	must(t, err)
	if len(l.Items) != 1 || l.Items[0].ID != in.ID {
		t.Errorf("user-provided instances: %+v", l.Items)
	}
	_, err = f.UserProvidedCredentials(t.Context(), managed.ID)
	wantError(t, err, backstay.NotFound, "Service instance not found")

	nothing := ""
	in, err = f.UpdateUserProvided(t.Context(), in.ID, market.InstanceUpdate{SyslogDrainURL: &nothing}, nil, none)
	must(t, err)
	if in.Name != "ledger" || in.SyslogDrainURL != "" || in.RouteServiceURL != "https://gate.example.org" ||
		len(in.Tags) != 1 || in.LastOperation.Type != backstay.Update {
		t.Errorf("without a drain: %+v", in)
	}
	wantCredentials(t, f, in.ID, "sealed")
	in, err = f.UpdateUserProvided(t.Context(), in.ID, market.InstanceUpdate{Tags: []string{}}, []byte("other"), none)
	must(t, err)
	wantCredentials(t, f, in.ID, "other")
	if len(in.Tags) != 0 {
		t.Errorf("tags are left: %q", in.Tags)
	}
}

func wantCredentials(t *testing.T, f *fixture, id backstay.InstanceID, want string) {
	t.Helper()
	sealed, err := f.UserProvidedCredentials(t.Context(), id)
	must(t, err)
	if string(sealed) != want {
		t.Errorf("credentials %q; want %q", sealed, want)
	}
}

func aBindingKeepsTheCredentialsItGot(t *testing.T, f *fixture) {
	in := f.mustProvide(t, "ledger")
	b, _ := f.newBinding(in.ID, backstay.AppBinding, "")
	reseal := func(credentials []byte) ([]byte, error) { return bytes.ToUpper(credentials), nil }
	must(t, f.AddBinding(t.Context(), b, 1, reseal, none))
	again, _ := f.newBinding(in.ID, backstay.AppBinding, "")
	wantError(t, f.AddBinding(t.Context(), again, 1, reseal, none), backstay.Taken,
		"The app is already bound to the service instance.")

	nothing := ""
	_, err := f.UpdateUserProvided(
		t.Context(), in.ID, market.InstanceUpdate{SyslogDrainURL: &nothing}, []byte("other"), none,
	)
	must(t, err)
	_, credentials, err := f.BindingSecrets(t.Context(), b.ID)
	must(t, err)
	l, err := f.Bindings(t.Context(), market.BindingFilter{IDs: []backstay.BindingID{b.ID}})
	must(t, err)
	kept := l.Items[0]
	if string(credentials) != "SEALED" || kept.SyslogDrainURL != "syslog://logs.example.org" ||
		kept.InstanceType != backstay.UserProvided || kept.SpaceID != f.space.ID {
		t.Errorf("credentials %q of %+v", credentials, kept)
	}

	wantError(t, f.RemoveUserProvided(t.Context(), in.ID, none), backstay.InUse,
		"Please delete the service_bindings, service_keys, and routes associations for your service_instances.")
	must(t, f.RemoveBinding(t.Context(), b.ID, none, nil))
	must(t, f.RemoveUserProvided(t.Context(), in.ID, none))
	wantError(t, f.RemoveUserProvided(t.Context(), in.ID, none), backstay.NotFound, "Service instance not found")
}

func bothKindsShareTheNames(t *testing.T, f *fixture) {
	provided, managed := f.mustProvide(t, "ledger"), f.mustHave(t, "db")
	_, err := f.AddUserProvided(t.Context(), f.newUserProvided("db"), []byte("sealed"), none)
	wantError(t, err, backstay.Taken, "The service instance name is taken: db.")
	in, j := f.newInstance("ledger")
	wantError(t, f.AcceptInstance(t.Context(), in, nil, none, j), backstay.Taken,
		"The service instance name is taken: ledger.")
	names := []string{"db", "ledger"}
	_, err = f.UpdateUserProvided(t.Context(), provided.ID, market.InstanceUpdate{Update: named(names[0])}, nil, none)
	wantError(t, err, backstay.Taken, "The service instance name is taken: db.")
	_, err = f.UpdateInstance(t.Context(), managed.ID, named(names[1]), nil, none)
	wantError(t, err, backstay.Taken, "The service instance name is taken: ledger.")
}
