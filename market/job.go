package market

import (
	"context"
	"fmt"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

// The operations of jobs, as the Cloud Foundry API names them.
const (
	createInstance     = "service_instance.create"
	updateInstance     = "service_instance.update"
	deleteInstance     = "service_instance.delete"
	createBinding      = "service_bindings.create"
	deleteBinding      = "service_bindings.delete"
	deleteApp          = "app.delete"
	deleteSpace        = "space.delete"
	deleteOrganization = "organization.delete"
	deleteRole         = "role.delete"
	unshareInstance    = "service_instance.unshare"
	deleteQuota        = "quota.delete"
	purgeInstance      = "service_instance.purge"
	endOrphan          = "orphan.end"
	createBroker       = "service_broker.catalog.synchronize"
	updateBroker       = "service_broker.update"
	deleteBroker       = "service_broker.delete"
)

// operations says for each operation which steps a job takes, and how its failure is recorded.
var operations = map[string]struct {
	steps func(m *Market, j backstay.Job) []step.Step
	fail  func(m *Market, ctx context.Context, j backstay.Job, reason error) error
}{
	createInstance:     {(*Market).createInstanceSteps, failInstance(backstay.Create)},
	updateInstance:     {(*Market).updateInstanceSteps, failInstance(backstay.Update)},
	deleteInstance:     {(*Market).deleteInstanceSteps, failInstance(backstay.Delete)},
	createBinding:      {(*Market).createBindingSteps, (*Market).failNewBinding},
	deleteBinding:      {(*Market).deleteBindingSteps, (*Market).failBindingDeletion},
	deleteApp:          {(*Market).deleteAppSteps, (*Market).failJob},
	deleteSpace:        {(*Market).deleteSpaceSteps, (*Market).failJob},
	deleteOrganization: {(*Market).deleteOrganizationSteps, (*Market).failJob},
	deleteRole:         {(*Market).deleteRoleSteps, (*Market).failJob},
	unshareInstance:    {(*Market).unshareInstanceSteps, (*Market).failUnshare},
	deleteQuota:        {(*Market).deleteQuotaSteps, (*Market).failJob},
	purgeInstance:      {(*Market).purgeInstanceSteps, (*Market).failJob},
	endOrphan:          {(*Market).orphanSteps, (*Market).failJob},
	createBroker:       {brokerSteps("market.create-broker.recorded"), (*Market).failBroker},
	updateBroker:       {brokerSteps("market.update-broker.recorded"), (*Market).failBroker},
	deleteBroker:       {(*Market).deleteBrokerSteps, (*Market).failJob},
}

// StepNames lists every step of every job, and of the recording of what brokers have done: where a process may die in
// the middle of one.
func StepNames() []string {
	names := step.Names((*Market)(nil).followSteps("", nil, 0))
	for _, o := range operations {
		names = append(names, step.Names(o.steps(nil, backstay.Job{}))...)
	}
	return names
}

// Work does a job that was accepted, from its beginning: steps already done do nothing again. It
// returns an error if the job is to be tried again; last says that it will not be, so that whatever
// goes wrong now is the end of it.
func (m *Market) Work(ctx context.Context, id backstay.JobID, last bool) error {
	j, err := m.Store.Job(ctx, id)
	if err != nil {
		return err
	}
	if j.State == backstay.JobComplete || j.State == backstay.JobFailed {
		return nil
	}
	o, ok := operations[j.Operation]
	if !ok {
		return fmt.Errorf("job %s: unknown operation %q", id, j.Operation)
	}
	err = step.Run(ctx, o.steps(m, j)...)
	if err == nil || ctx.Err() != nil {
		return err
	}
	m.Log.Warn("job did not succeed", "job", id, "operation", j.Operation, "resource", j.Resource,
		"kind", backstay.KindOf(err).String(), "last", last, "error", err)
	if retryable(err) && !last {
		return err
	}
	j.State, j.Kind, j.Sentence = backstay.JobFailed, backstay.KindOf(err), backstay.SentenceOf(err)
	return o.fail(m, ctx, j, err)
}

// retryable tells whether a job that failed with the error is tried again: if the error has no sentence for the
// user yet, or if something came into a space or an organization while that was being emptied.
func retryable(err error) bool {
	k := backstay.KindOf(err)
	return k == backstay.Internal || k == backstay.InUse || k == backstay.Busy
}

// failJob records the failure of a job that leaves everything else as it is.
func (m *Market) failJob(ctx context.Context, j backstay.Job, _ error) error {
	return m.Store.FinishJob(ctx, j)
}

// orEnding is err, or Busy if err tells that a name is taken and what has the name, which holder finds, is being
// deleted: the cf command takes Taken for success, and a moment later there would be nothing.
func (m *Market) orEnding(
	ctx context.Context, err error, deletion string, holder func() (id, said string, err error),
) error {
	if backstay.KindOf(err) != backstay.Taken {
		return err
	}
	id, said, failed := holder()
	if backstay.KindOf(failed) == backstay.NotFound {
		return backstay.Errorf(backstay.Busy, "What had the name was deleted just now. Try again.")
	}
	var pending bool
	if failed == nil {
		pending, failed = m.Store.Pending(ctx, deletion, id)
	}
	switch {
	case failed != nil:
		return failed
	case pending:
		return backstay.Errorf(backstay.Busy, "%s is being deleted. Try again in a moment.", said)
	}
	return err
}
