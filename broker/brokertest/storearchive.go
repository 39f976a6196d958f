package brokertest

import (
	"reflect"
	"testing"

	"github.com/google/uuid"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/broker"
)

// archivesOutliveTheirInstance: what is kept of a deleted instance stays until it is forgotten, or until another
// instance of the id is deleted.
func archivesOutliveTheirInstance(t *testing.T, s broker.Store) {
	a := broker.Archive{
		ID: backstay.InstanceID(uuid.NewString()), ServiceID: "service", PlanID: "plan", OrganizationID: "organization",
		SpaceID: "space", Name: "my-redis", Backend: "local", Engine: "redis", Version: "7.0", Storage: backstay.GB,
		Encrypted: true,
	}
	if _, err := s.Archive(t.Context(), a.ID); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("before: %v", err)
	}
	for _, key := range []string{"of another", "sealed"} {
		a.Key = []byte(key)
		if err := s.KeepArchive(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Archive(t.Context(), a.ID)
	if err != nil || got.DeletedAt.IsZero() {
		t.Fatalf("got %+v, %v", got, err)
	}
	if a.DeletedAt = got.DeletedAt; !reflect.DeepEqual(got, a) {
		t.Errorf("got %+v, want %+v", got, a)
	}
	all, err := s.Archives(t.Context())
	if found := ofID(all, a.ID); err != nil || len(found) != 1 || !reflect.DeepEqual(found[0], got) {
		t.Errorf("listed is %+v, %v", found, err)
	}
	for range 2 {
		if err := s.ForgetArchive(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Archive(t.Context(), a.ID); backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("forgotten: %v", err)
	}
}

func ofID(all []broker.Archive, id backstay.InstanceID) (found []broker.Archive) {
	for _, a := range all {
		if a.ID == id {
			found = append(found, a)
		}
	}
	return found
}
