// Package tenanttest is the contract of tenant.Store written as tests, which every store runs.
package tenanttest

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/tenant"
)

// RunStore checks that the stores that open returns keep the contract.
func RunStore(t *testing.T, open func(t testing.TB) tenant.Store) {
	s := open(t)
	for name, run := range map[string]func(*testing.T, tenant.Store){
		"NamesAreTakenOnce":     namesAreTakenOnce,
		"TwoPasswordsForAWhile": twoPasswordsForAWhile,
		"RevokedIsWithout":      revokedIsWithout,
		"ClaimsAreLimited":      claimsAreLimited,
		"ManyClaimTheLastOne":   manyClaimTheLastOne,
		"WhoIsNotThere":         whoIsNotThere,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, s)
		})
	}
}

// noon is when the tests take place: to the microsecond, as stores keep it.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func password(word string, at time.Time) tenant.Password {
	return tenant.Password{Hash: []byte(word), CreatedAt: at}
}

func mustAdd(t testing.TB, s tenant.Store, most int) tenant.Tenant {
	t.Helper()
	added := tenant.Tenant{
		ID: uuid.NewString(), Name: uuid.NewString(), MaxInstances: most, CreatedAt: noon,
		Passwords: []tenant.Password{password("first", noon)},
	}
	must(t, s.AddTenant(t.Context(), added, backstay.Event{}))
	return added
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t testing.TB, err error, want backstay.Kind) {
	t.Helper()
	if err == nil || backstay.KindOf(err) != want {
		t.Errorf("%v is %v; want %v", err, backstay.KindOf(err), want)
	}
}

func claim(of tenant.Tenant) tenant.Claim {
	return tenant.Claim{
		Tenant: of.ID, InstanceID: backstay.InstanceID(uuid.NewString()), ExternalID: "ext/1", CreatedAt: noon,
	}
}

// passwords are the words that are good at a moment, the newest first.
func passwords(t testing.TB, s tenant.Store, name string, at time.Time) (words []string) {
	t.Helper()
	found, err := s.Tenant(t.Context(), name, at)
	must(t, err)
	for _, p := range found.Passwords {
		words = append(words, string(p.Hash))
	}
	return words
}

func namesAreTakenOnce(t *testing.T, s tenant.Store) {
	added := mustAdd(t, s, 1)
	again := added
	again.ID = uuid.NewString()
	wantKind(t, s.AddTenant(t.Context(), again, backstay.Event{}), backstay.Taken)
	must(t, s.Claim(t.Context(), claim(added), backstay.Event{}))
	must(t, s.RemovePasswords(t.Context(), added.ID, backstay.Event{}))
	wantKind(t, s.AddTenant(t.Context(), again, backstay.Event{}), backstay.Taken) // it has an instance

	gone := mustAdd(t, s, 1)
	must(t, s.RemovePasswords(t.Context(), gone.ID, backstay.Event{}))
	again.Name = gone.Name
	must(t, s.AddTenant(t.Context(), again, backstay.Event{}))
	found, err := s.Tenant(t.Context(), gone.Name, noon)
	must(t, err)
	if found.ID != again.ID {
		t.Errorf("it is %s; want the new one, %s", found.ID, again.ID)
	}
}

func twoPasswordsForAWhile(t *testing.T, s tenant.Store) {
	added := mustAdd(t, s, 1)
	later := noon.Add(time.Hour)
	must(t, s.AddPassword(t.Context(), added.ID, password("second", later), later.Add(time.Hour), backstay.Event{}))
	must(t, s.AddPassword(t.Context(), added.ID, password("third", later.Add(time.Minute)), later.Add(2*time.Hour),
		backstay.Event{}))
	for at, want := range map[time.Time][]string{
		later:                      {"third", "second", "first"},
		later.Add(time.Hour):       {"third", "second"},
		later.Add(2 * time.Hour):   {"third"},
		later.Add(200 * time.Hour): {"third"},
	} {
		got := passwords(t, s, added.Name, at)
		if len(got) != len(want) {
			t.Errorf("at %s %q are good; want %q", at, got, want)
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("at %s %q are good; want %q", at, got, want)
			}
		}
	}
}

func revokedIsWithout(t *testing.T, s tenant.Store) {
	added := mustAdd(t, s, 1)
	must(t, s.RemovePasswords(t.Context(), added.ID, backstay.Event{}))
	if got := passwords(t, s, added.Name, noon); len(got) > 0 {
		t.Errorf("%q are good after all were removed", got)
	}
	must(t, s.AddPassword(t.Context(), added.ID, password("again", noon), noon, backstay.Event{}))
	if got := passwords(t, s, added.Name, noon); len(got) != 1 || got[0] != "again" {
		t.Errorf("%q are good; want the new one", got)
	}
}

func claimsAreLimited(t *testing.T, s tenant.Store) {
	added := mustAdd(t, s, 2)
	one, other, third := claim(added), claim(added), claim(added)
	for _, c := range []tenant.Claim{one, other, one} { // the same one counts once
		must(t, s.Claim(t.Context(), c, backstay.Event{}))
	}
	wantKind(t, s.Claim(t.Context(), third, backstay.Event{}), backstay.Unavailable)
	must(t, s.LimitTenant(t.Context(), added.ID, 1, backstay.Event{}))
	must(t, s.Claim(t.Context(), one, backstay.Event{})) // what it has stays
	must(t, s.LimitTenant(t.Context(), added.ID, 2, backstay.Event{}))
	must(t, s.Release(t.Context(), other.InstanceID))
	must(t, s.Release(t.Context(), other.InstanceID))
	must(t, s.Claim(t.Context(), third, backstay.Event{}))
	if all, err := s.Claims(t.Context(), added.ID, noon); err != nil || len(all) != 0 {
		t.Errorf("before it began: %v, %v", all, err)
	}
	all, err := s.Claims(t.Context(), added.ID, noon.Add(time.Second))
	must(t, err)
	if len(all) != 2 || all[0].ExternalID != "ext/1" {
		t.Errorf("it has %+v", all)
	}
	if found, err := s.Tenant(t.Context(), added.Name, noon); err != nil || found.Instances != 2 {
		t.Errorf("it has %d instances, %v; want 2", found.Instances, err)
	}
}

func manyClaimTheLastOne(t *testing.T, s tenant.Store) {
	added := mustAdd(t, s, 1)
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { errs <- s.Claim(context.WithoutCancel(t.Context()), claim(added), backstay.Event{}) }()
	}
	granted := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			granted++
		} else {
			wantKind(t, err, backstay.Unavailable)
		}
	}
	if granted != 1 {
		t.Errorf("%d instances were granted; want 1", granted)
	}
}

func whoIsNotThere(t *testing.T, s tenant.Store) {
	id := uuid.NewString()
	_, err := s.Tenant(t.Context(), id, noon)
	wantKind(t, err, backstay.NotFound)
	wantKind(t, s.AddPassword(t.Context(), id, password("p", noon), noon, backstay.Event{}), backstay.NotFound)
	wantKind(t, s.RemovePasswords(t.Context(), id, backstay.Event{}), backstay.NotFound)
	wantKind(t, s.LimitTenant(t.Context(), id, 1, backstay.Event{}), backstay.NotFound)
	wantKind(t, s.Claim(t.Context(), claim(tenant.Tenant{ID: id}), backstay.Event{}), backstay.NotFound)
}
