package instance

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/internal/clone"
	"github.com/backstay/backstay/keeper/node"
)

// tellProgress tells what is done for a restore, without a word about whether the instance serves meanwhile.
func (in *Instance) tellProgress(sentence string) {
	in.report(func(st *backend.Status) { st.Message = sentence })
}

// partSuffix is behind the name of a data directory where engines make it until it is whole.
const partSuffix = ".part"

// tellSize tells how much of the data there is, and a sentence besides, again and again until ctx ends.
func (in *Instance) tellSize(ctx context.Context, what, besides, dir string) {
	for {
		size, _ := clone.Size(dir)
		unfinished, _ := clone.Size(dir + partSuffix)
		size += unfinished
		text := what + " is being restored"
		if size > 0 {
			text += fmt.Sprintf(": %d MB are there", max(1, size/int64(backstay.MB)))
		}
		if ctx.Err() != nil {
			return
		}
		in.tellProgress(strings.TrimSuffix(text+". "+besides, " "))
		select {
		case <-ctx.Done():
			return
		case <-time.After(progressEvery):
		}
	}
}

// progressEvery is how often it is looked how far a restore has come.
const progressEvery = 3 * time.Second

// endProgress has the message say again what it says of an instance that serves.
func (in *Instance) endProgress(serving *node.Node) {
	if serving == nil {
		return
	}
	in.report(func(st *backend.Status) {
		if st.Phase == backend.Running {
			st.Message = serving.Describe(in.Record().Spec.Engine)
		}
	})
}
