package engine

import "github.com/backstay/backstay"

// Bounded is an Engine that knows the most that its nodes need.
type Bounded interface {
	// Bounds returns what the processes of a node may take together, Size being what users pay for. A node that is
	// configured as Prepare does it, and whose clients do nothing out of the common, never meets it, not with all
	// connections in use either; what one client can take by a query of its own may be more.
	Bounds(n Node) Bounds
}

// Bounds is the most that a node may take of its machine.
type Bounds struct {
	// Memory is that of processes, the memory they share, and files that the kernel keeps in memory for them. Of the
	// last it gives up what is needed otherwise.
	Memory    backstay.Bytes
	Processes int // and threads
}
