package market

import (
	"context"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/step"
)

// Steps are those of a job, for tests that stop in the middle.
func (m *Market) Steps(j backstay.Job) []step.Step { return operations[j.Operation].steps(m, j) }

// FollowSteps are those of the recording of what a broker has done.
func (m *Market) FollowSteps(of backstay.BrokerID, changed []backstay.InstanceID, seen int64) []step.Step {
	return m.followSteps(of, changed, seen)
}

// OrphanOf is the job that is to end what a job has left.
func (m *Market) OrphanOf(ctx context.Context, j backstay.Job) *backstay.Job {
	next, _ := m.orphanOf(ctx, j, orphaned(errPurged))
	return next
}

// WithSentence adds a sentence to a description.
var WithSentence = withSentence
