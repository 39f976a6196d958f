package opensearch

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/opensearch/front"
)

var (
	// thrown matches what the server, or its Java machine, says when it cannot go on. In lines that are logged, which
	// begin with the time, exceptions end nothing.
	thrown = regexp.MustCompile(`^(?:Likely root cause: |Terminating due to )?(?:[a-z0-9]+\.)+` +
		`([A-Z]\w*(?:Exception|Error)(?:: .*)?)$`)
	// launching matches a complaint of the Java machine, or of who starts it, before there is a server.
	launching = regexp.MustCompile(`^(?:Error|Error occurred during initialization of VM|cp|mkdir|/bin/sh)(?:: |$)`)
	// exhausted is what an explanation begins with where the heap is used up.
	exhausted = "OutOfMemoryError: "
)

// Explain returns the last line that says why the node ended or could not be started. It is empty if it has served
// since.
func (Engine) Explain(n engine.Node) string {
	reason := ""
	for line := range n.LogLines() {
		if said, ok := verdict(line); ok {
			reason = said
		}
	}
	if strings.HasPrefix(reason, exhausted) {
		return fmt.Sprintf("%s ran out of memory, of which its heap has %s", product, heap(n.Size))
	}
	return reason
}

// verdict returns what a line of the log says about the node's end, and whether it says anything. An empty text says
// that the node serves.
func verdict(line string) (said string, ok bool) {
	if text, ours := strings.CutPrefix(line, front.Said); ours {
		if text == front.Serves {
			return "", true
		}
		return text, true
	}
	if match := thrown.FindStringSubmatch(line); match != nil {
		return match[1], true
	}
	return line, launching.MatchString(line)
}
