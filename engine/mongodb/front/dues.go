package front

import "sync"

// dues are the answers that FerretDB owes a client. What the front says itself comes behind them. FerretDB also answers
// what has no answer (unacknowledged writes): that is for nobody, and every later answer would be taken for another's.
type dues struct {
	mu      sync.Mutex
	changed *sync.Cond
	owed    int
	mute    map[int32]bool // requests that have no answer
	over    bool           // there will be no more answers
}

func newDues() *dues {
	d := &dues{mute: map[int32]bool{}}
	d.changed = sync.NewCond(&d.mu)
	return d
}

// owe notes that a message is passed on.
func (d *dues) owe(m message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owed++
	if m.mute {
		d.mute[m.id] = true
	}
}

// isFor tells whether the client waits for the answer to a request.
func (d *dues) isFor(request int32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.mute[request]
}

// pay notes the answer to a request, or that there will be none.
func (d *dues) pay(request int32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owed--
	delete(d.mute, request)
	d.changed.Broadcast()
}

// end notes that there will be no more answers.
func (d *dues) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	d.changed.Broadcast()
}

// settle waits until no answer is owed, and tells whether all of them came.
func (d *dues) settle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.owed > 0 && !d.over {
		d.changed.Wait()
	}
	return !d.over
}
