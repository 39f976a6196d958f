package front

import "sync"

// dues are the answers that FerretDB owes a client. What the front says itself comes behind them.
type dues struct {
	mu      sync.Mutex
	changed *sync.Cond
	owed    int
	over    bool // there will be no more answers
}

func newDues() *dues {
	d := &dues{}
	d.changed = sync.NewCond(&d.mu)
	return d
}

// owe notes that a message is passed on which is answered.
func (d *dues) owe() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owed++
}

// pay notes an answer.
func (d *dues) pay() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owed--
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
