package engine

import (
	"bufio"
	"errors"
	"iter"
	"os"
	"strings"
)

// LogLines are the lines of the node's log, oldest first, for an Explainer; none where it cannot be read. Of a line of
// more than 4096 bytes it is the first ones: that is a client's words, as the programs' own lines are short.
func (n Node) LogLines() iter.Seq[string] {
	return func(yield func(string) bool) {
		f, err := os.Open(n.LogFile)
		if err != nil {
			return
		}
		defer f.Close()
		for lines := bufio.NewReader(f); ; {
			line, err := lines.ReadSlice('\n')
			if !yield(strings.TrimRight(string(line), "\n")) {
				return
			}
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = lines.ReadSlice('\n')
			}
			if err != nil {
				return
			}
		}
	}
}
