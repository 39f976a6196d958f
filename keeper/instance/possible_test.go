package instance

import (
	"errors"
	"testing"
)

// TestPassedOnce: what has passed is not checked again, and what has not is.
func TestPassedOnce(t *testing.T) {
	t.Parallel()
	var p passes
	checks, refused := 0, errors.New("refused")
	check := func() error {
		checks++
		if checks == 1 {
			return refused
		}
		return nil
	}
	for i, want := range []error{refused, nil, nil} {
		if err := p.once("one", check); !errors.Is(err, want) {
			t.Errorf("time %d: %v, want %v", i+1, err, want)
		}
	}
	if err := p.once("another", check); err != nil || checks != 3 {
		t.Errorf("%d checks, want 3: the one that was refused, again, and another", checks)
	}
}
