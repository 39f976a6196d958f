package kubernetes_test

import (
	"os"
	"testing"

	"github.com/backstay/backstay/backend/backendtest"
	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/internal/testkit"
)

// store is an object store that is to be had in the cluster and here.
func (l lab) store(t *testing.T) (*testkit.Objects, *kubernetes.Repository) {
	t.Helper()
	o := testkit.ObjectStore(t)
	trusted, err := os.ReadFile(o.Authority)
	if err != nil {
		t.Fatal(err)
	}
	return o, &kubernetes.Repository{
		ObjectStore: o.ObjectStore, Inside: l.cluster.Listen(t, o.Endpoint), Trusted: string(trusted),
	}
}

func TestArchive(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.config(t, 30300, 30339)
	_, c.Repository = l.store(t)
	b, _ := run(t, c)
	s := l.subject(b)
	s.Can = []string{"backups", "an origin"}
	backendtest.RunArchive(t, s)
	t.Cleanup(func() { l.wantNothing(t) })
}
