package mux

// Window is as large as what of takes in has become.
func (s *Session) Window(of *Stream) int {
	of.in.mu.Lock()
	defer of.in.mu.Unlock()
	return of.in.window
}

// Taken is how much windows have grown.
func (g *Growth) Taken() int64 { return g.taken.Load() }
