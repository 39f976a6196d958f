package kubernetes

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// fight is of an object that was applied, and differs nevertheless.
type fight struct {
	wanted string // which edition of it was applied
	over   string // the resource version of what was seen then; empty: nothing
	again  time.Time
	pause  time.Duration
}

// unseen is the time after which what was applied is applied again as long as the watch shows what was there before. It
// lags for a minute where Kubernetes was away.
const unseen = time.Second

// mayPut tells whether an object that differs is applied now: whoever undoes what we apply is not fought in a loop.
func (in *instance) mayPut(o *unstructured.Unstructured) bool {
	f := in.fights[fightOver(o)]
	return f == nil || f.wanted != fmt.Sprint(o.Object) || !in.b.Now().Before(f.again)
}

// notePut notes that an object was applied where there was another one, or none. Each time that it is undone it takes
// twice as long until it is applied again, and the log tells.
func (in *instance) notePut(o, there *unstructured.Unstructured) {
	if in.fights == nil {
		in.fights = map[string]*fight{}
	}
	wanted, over, now := fmt.Sprint(o.Object), "", in.b.Now()
	if there != nil {
		over = there.GetResourceVersion()
	}
	f := in.fights[fightOver(o)]
	switch {
	case f == nil || f.wanted != wanted || now.Sub(f.again) > 10*time.Minute:
		in.fights[fightOver(o)] = &fight{wanted, over, now.Add(tight), tight}
		return
	case there != nil && over == f.over: // nobody has touched it
		f.again = now.Add(unseen)
		return
	}
	f.over, f.pause = over, min(2*f.pause, 5*time.Minute)
	f.again = now.Add(f.pause)
	if there != nil && f.pause > time.Second {
		in.b.Log.Warn("somebody changes what belongs to an instance: it is put back",
			"instance", in.id, "object", fightOver(o), "again", f.pause)
	}
}

func fightOver(o *unstructured.Unstructured) string { return o.GetKind() + " " + o.GetName() }
