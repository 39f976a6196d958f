package kubernetes_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/testkit"
)

// TestRecordIsLost while Backstay is away: what its ledger has is enough to find the instance, as it was.
func TestRecordIsLost(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	l := newLab(t)
	c := l.config(t, 30230, 30233)
	b, stop := run(t, c)
	spec := l.spec(t, 1)
	spec.Build = "15.18"
	mustApply(t, b, spec)
	st := until(t, b, spec.Instance, "the instance", guarded(1, 1))
	uri := l.table(t, b, spec)
	session := archived{lab: l}.again(t, uri+"?sslmode=require")
	w := write(t, l, uri)
	stop()
	l.delete(t, secrets, "bs-"+string(spec.Instance)+"-record")

	b, _ = run(t, c)
	t.Cleanup(func() { l.wantNothing(t) })
	t.Cleanup(func() { removed(t, b, spec.Instance) })
	spec.Build, spec.Served = "", &backend.Served{Endpoint: st.Endpoint}
	mustApply(t, b, spec)
	again := until(t, b, spec.Instance, "the instance", guarded(1, 1))
	if again.Endpoint != st.Endpoint || again.Build != st.Build {
		t.Errorf("without its record %+v has become %+v", st, again)
	}
	if err := session.Ping(t.Context()); err != nil {
		t.Errorf("it was interrupted: %v", err)
	}
	w.wantAll(t)
}

// TestReturnFromDamagedData: no server comes up with it any more, and the instance returns all the same to what the
// archive has, without what was written last, and says so.
func TestReturnFromDamagedData(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	a := newArchived(t, 30450, 30459)
	s := a.spec(t)
	conn := a.withARow(t, s)
	at := passed()
	do(t, conn, "INSERT INTO t VALUES (2)")
	a.kept(t, s.Instance, "the archive behind that moment", func(k backend.Backups) bool { return k.Latest.After(at) })
	pod := "bs-" + string(s.Instance) + "-1"
	a.cluster.Kubectl(t, "exec", pod, "-n", a.namespace, "-c", "postgres", "--",
		"rm", "/var/lib/postgresql/data/pgdata/global/pg_control")
	a.cluster.Kubectl(t, "delete", "pod", pod, "-n", a.namespace, "--grace-period=0", "--force")
	until(t, a.Backend, s.Instance, "the damage", func(st backend.Status) bool { return st.Phase == backend.Failing })

	s.Generation = 2
	s.Origin = &backend.Origin{Instance: s.Instance, Key: backupsKey, At: at, Return: 1}
	if err := a.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	until(t, a.Backend, s.Instance, "what is waited for", func(st backend.Status) bool {
		return strings.Contains(st.Obstacle.Sentence, "If its server does not come up in 5 minutes, it returns without that.")
	})
	a.clock.forward(6 * time.Minute)
	st := a.served(t, s)
	if !strings.Contains(st.Restored.Passed, "what it had written last is lost") {
		t.Errorf("restored as %+v", st.Restored)
	}
	if got := numbers(t, a.bound(t, s.Instance, "u2")); !slices.Equal(got, []int{1}) {
		t.Errorf("%v is there", got)
	}
}

// growing is a class whose volumes may grow, and do not by themselves: the operator says that all is well nevertheless.
const growing = `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: %s}
provisioner: rancher.io/local-path
volumeBindingMode: WaitForFirstConsumer
reclaimPolicy: Delete
allowVolumeExpansion: true
`

// TestVolumeGrows: more storage is not said to be there before the volume has it, and ends no session.
func TestVolumeGrows(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	l := newLab(t)
	l.cluster.Apply(t, l.namespace, fmt.Sprintf(growing, l.namespace))
	t.Cleanup(func() { l.cluster.Kubectl(t, "delete", "storageclass", l.namespace) })
	c := l.config(t, 30234, 30237)
	c.StorageClass = l.namespace
	b, _ := run(t, c)
	t.Cleanup(func() { l.wantNothing(t) })
	spec := l.spec(t, 1)
	l.serve(t, b, spec)
	conn, err := l.open(t.Context(), l.table(t, b, spec)+"?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())

	spec.Generation, spec.Size.Storage = 2, 2*spec.Size.Storage
	mustApply(t, b, spec)
	claim := "bs-" + string(spec.Instance) + "-1"
	await(t, "the claim to ask for more", func(ctx context.Context) (bool, error) {
		o, err := l.client.Resource(claims).Namespace(l.namespace).Get(ctx, claim, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		asked := o.Object["spec"].(map[string]any)["resources"].(map[string]any)["requests"].(map[string]any)["storage"]
		return asked == "2048Mi" || asked == "2Gi", nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
	defer cancel()
	for revision := int64(0); ; {
		st, err := b.Await(ctx, spec.Instance, revision)
		if err != nil {
			break
		}
		if revision = st.Revision; st.Generation == 2 {
			t.Fatalf("before the volume has grown it is %+v", st)
		}
	}
	l.patch(t, claims, claim, `{"status": {"capacity": {"storage": "2Gi"}}}`, "status")
	until(t, b, spec.Instance, "more storage", guarded(2, 1))
	if err := conn.Ping(t.Context()); err != nil {
		t.Errorf("more storage has ended a session: %v", err)
	}
}

// TestBackupsOfALostRecord are the instance's still, and it returns to what they reach, as to what was archived since.
func TestBackupsOfALostRecord(t *testing.T) {
	testkit.InFewRuns(t)
	t.Parallel()
	a := newArchived(t, 30391, 30392)
	s := a.spec(t)
	mustApply(t, a.Backend, s)
	st := until(t, a.Backend, s.Instance, "the instance", serves)
	before := a.backedUp(t, s.Instance)
	do(t, a.bound(t, s.Instance, "u1"), "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
	time.Sleep(time.Second)
	at := time.Now().Truncate(time.Second)
	a.stop()
	a.delete(t, secrets, "bs-"+string(s.Instance)+"-record")

	c := a.config(t, 30391, 30392)
	c.Repository, c.Now = a.repository, a.clock.now
	a.Backend, _ = run(t, c)
	t.Cleanup(func() { removed(t, a.Backend, s.Instance) })
	s.Served = &backend.Served{Endpoint: st.Endpoint}
	mustApply(t, a.Backend, s)
	until(t, a.Backend, s.Instance, "the instance", serves)
	isThere := func(k backend.Backups) bool { return len(k.List) > 0 && k.List[0].ID == before.List[0].ID }
	a.kept(t, s.Instance, "its backup", func(k backend.Backups) bool { return isThere(k) && k.Latest.After(at) })
	do(t, a.bound(t, s.Instance, "u2"), "INSERT INTO t VALUES (2)")

	s.Generation, s.Origin = 2, &backend.Origin{Instance: s.Instance, Key: backupsKey, At: at, Return: 1}
	a.served(t, s)
	if got := numbers(t, a.bound(t, s.Instance, "u3")); len(got) != 1 {
		t.Errorf("it has %v, want what was there before its record was lost", got)
	}
	a.kept(t, s.Instance, "its backup", isThere)
}
