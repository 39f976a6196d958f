package broker_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/broker/brokertest"
	"github.com/backstay/backstay/engine/redis"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/wait"
	"github.com/backstay/backstay/keeper/keepertest"
)

// backedUpHouse is our broker on a keeper of Redis, with the directory of its repository. No job runs yet.
func backedUpHouse(t *testing.T) (h *house, repository string) {
	t.Helper()
	c := keepertest.Config(t, 2)
	c.Engines["redis"] = redis.Engine{}
	repository = filepath.Join(t.TempDir(), "repository")
	must(t, os.Mkdir(repository, 0o700))
	c.Repository = backstay.Repository{Dir: repository}
	instances, _ := keepertest.Run(t, c)
	h = newHouse(t, instances)
	h.Offered = redisFor(t, "7")
	return h, repository
}

// redisFor is a catalog of one plan of Redis, whose backups are kept for some days.
func redisFor(t *testing.T, days string) broker.Catalog {
	t.Helper()
	catalog, err := broker.ParseCatalog([]byte(strings.ReplaceAll(`
currency: GBP
offerings:
  - id: 6e1f8f3c-8a0e-4a0c-9d0b-52f1c7a4e501
    name: redis
    engine: redis
    backups: DAYS
    sizes: [{name: S, storage: 1GB, memory: 256MB, connections: 20}]
`, "DAYS", days)))
	must(t, err)
	return catalog
}

// mustMake makes an instance of the only plan.
func (h *house) mustMake(t *testing.T) backstay.ProvisionRequest {
	t.Helper()
	r := brokertest.NewRequest(t, h)
	_, err := h.Provision(t.Context(), r)
	must(t, err)
	if op := h.outcome(t, r.InstanceID, ""); op.State != backstay.Succeeded {
		t.Fatalf("the create ended as %+v", op)
	}
	return r
}

// told are the parameters that users are told of an instance.
func (h *house) told(ctx context.Context, id backstay.InstanceID) (told map[string]any, err error) {
	fetched, err := h.FetchInstance(ctx, backstay.FetchInstanceRequest{InstanceID: id})
	if err != nil {
		return nil, err
	}
	return told, json.Unmarshal(fetched.Parameters, &told)
}

func (h *house) updateMade(t *testing.T, r backstay.ProvisionRequest, parameters string) backstay.Operation {
	t.Helper()
	_, err := h.Update(t.Context(), backstay.UpdateRequest{
		InstanceID: r.InstanceID, ServiceID: r.ServiceID, Parameters: json.RawMessage(parameters),
	})
	must(t, err)
	return h.outcome(t, r.InstanceID, "")
}

// TestAskedBackupIsAwaited: an update that asks for a backup has succeeded when there is one, and says why there is none.
func TestAskedBackupIsAwaited(t *testing.T) {
	t.Parallel()
	h, repository := backedUpHouse(t)
	h.run(t)
	r := h.mustMake(t)
	began := time.Now().UTC().Truncate(time.Second).Format(time.DateTime)
	if op := h.updateMade(t, r, `{"backup": "now"}`); op.State != backstay.Succeeded {
		t.Errorf("it ended as %+v", op)
	}
	told, err := h.told(t.Context(), r.InstanceID)
	if last, _ := told["last_backup"].(string); err != nil || last < began || told["backup_retention_period"] != 7. {
		t.Errorf("told is %v, %v; want a backup since %s", told, err, began)
	}
	must(t, os.Rename(repository, repository+".away"))
	op := h.updateMade(t, r, `{"backup": "now"}`)
	if op.State != backstay.Failed || !strings.HasPrefix(op.Description, "The backup could not be taken: ") {
		t.Errorf("with the repository away it ended as %+v", op)
	}
	told, err = h.told(t.Context(), r.InstanceID)
	if trouble, _ := told["backup_trouble"].(string); err != nil || !strings.Contains(trouble, "The last backup has failed") {
		t.Errorf("told is %v, %v", told, err)
	}
	must(t, os.Rename(repository+".away", repository))
	if op := h.updateMade(t, r, `{"backup": "now"}`); op.State != backstay.Succeeded {
		t.Errorf("with the repository back it ended as %+v", op)
	}
}

// TestBackupsBegin: an instance that was made before there were backups has them as soon as its plan has, and is not
// restarted for it; a deleted one is forgotten with the last of its backups.
func TestBackupsBegin(t *testing.T) {
	t.Parallel()
	h, _ := backedUpHouse(t)
	h.Offered = redisFor(t, "0")
	stop := h.run(t)
	r := h.mustMake(t)
	if told, err := h.told(t.Context(), r.InstanceID); err != nil || told["backup_retention_period"] != nil {
		t.Errorf("told is %v, %v", told, err)
	}
	stop()
	h.Offered = redisFor(t, "7")
	stop = h.run(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	must(t, wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) {
		told, err := h.told(ctx, r.InstanceID)
		return err != nil || told["last_backup"] == nil, err
	}))
	if op := h.outcome(t, r.InstanceID, ""); op.Type != backstay.Create {
		t.Errorf("users see %+v", op)
	}
	_, err := h.Deprovision(t.Context(), backstay.DeprovisionRequest{InstanceID: r.InstanceID})
	must(t, err)
	h.mustEnd(t, r.InstanceID)
	h.wantArchived(t, r.InstanceID, true)
	stop()
	h.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	must(t, h.ForgetExpired(t.Context()))
	h.wantArchived(t, r.InstanceID, true)
	must(t, h.Backends[broker.Local].(backend.Archive).Forget(t.Context(), r.InstanceID))
	must(t, h.ForgetExpired(t.Context()))
	h.wantArchived(t, r.InstanceID, false)
}

// mustEnd waits until a delete has left nothing of an instance.
func (h *house) mustEnd(t *testing.T, id backstay.InstanceID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	must(t, wait.Until(ctx, wait.Every(20*time.Millisecond), func() (again bool, err error) {
		_, err = h.LastOperation(ctx, backstay.LastOperationRequest{InstanceID: id})
		return err == nil, absent(err)
	}))
}

// TestDeleteWithoutTheKey: an instance whose Spec cannot be read any more is deleted all the same.
func TestDeleteWithoutTheKey(t *testing.T) {
	t.Parallel()
	h, _ := backedUpHouse(t)
	stop := h.run(t)
	r := h.mustMake(t)
	stop()
	h.Key = seal.Key{2}
	h.run(t)
	_, err := h.Deprovision(t.Context(), backstay.DeprovisionRequest{InstanceID: r.InstanceID})
	must(t, err)
	h.mustEnd(t, r.InstanceID)
}

func (h *house) wantArchived(t *testing.T, id backstay.InstanceID, want bool) {
	t.Helper()
	_, err := h.Broker.Store.Archive(t.Context(), id)
	if is := err == nil; is != want || err != nil && backstay.KindOf(err) != backstay.NotFound {
		t.Errorf("recorded: %t, %v; want %t", is, err, want)
	}
}
