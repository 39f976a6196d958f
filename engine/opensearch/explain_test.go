package opensearch

import "testing"

func TestVerdict(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"Likely root cause: java.nio.file.AccessDeniedException: /x":       "AccessDeniedException: /x",
		"java.lang.IllegalStateException: failed to obtain locks":          "IllegalStateException: failed to obtain locks",
		"org.opensearch.bootstrap.StartupException: no":                    "StartupException: no",
		"Terminating due to java.lang.OutOfMemoryError: Java heap space":   "OutOfMemoryError: Java heap space",
		"front: bind: address already in use":                              "bind: address already in use",
		"Error: Could not find or load main class org.opensearch.X":        "same",
		"Error occurred during initialization of VM":                       "same",
		"cp: error writing 'config/roles.yml': No space left on device":    "same",
		"	at java.base/java.lang.Thread.run(Thread.java:840)":              "nothing",
		"[2026-11-30T02:10:18,761][WARN][X] java.io.IOException: somebody": "nothing",
		"WARNING: A terminally deprecated method has been called":          "nothing",
		"uncaught exception in thread [main]":                              "nothing",
	} {
		said, ok := verdict(line)
		if want == "same" {
			want = line
		}
		if ok != (want != "nothing") || ok && said != want {
			t.Errorf("%q says %q (%t), want %q", line, said, ok, want)
		}
	}
	if said, ok := verdict("front: OpenSearch answers"); said != "" || !ok {
		t.Errorf("a node that serves is explained by %q (%t)", said, ok)
	}
}
