// Package step runs an operation as a list of named, idempotent steps. The names are how the crash
// tests find every place where a process may die; nothing else depends on them.
package step

import (
	"context"
	"fmt"
)

// Step is one part of an operation. Do may run again after a crash, and then has the effect of one run.
type Step struct {
	Name string
	Do   func(ctx context.Context) error
}

// After, when set, is called behind each step that succeeded, with its name. Only tests set it,
// before anything runs.
var After func(name string)

// Run does the steps in order and stops at the first error.
func Run(ctx context.Context, steps ...Step) error {
	for _, s := range steps {
		if err := s.Do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		if After != nil {
			After(s.Name)
		}
	}
	return nil
}

// Names lists the names of steps.
func Names(steps []Step) []string {
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.Name
	}
	return names
}
