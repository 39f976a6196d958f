package mysql

import (
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine/enginetest"
)

// What the server has against a configuration is told in its words, also where it would go on without.
func TestConfigurationIsTried(t *testing.T) {
	t.Parallel()
	n := enginetest.NewNode(t, Engine{})
	p, err := Engine{}.plan(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	good := p.Files[configFile]
	for line, want := range map[string]string{
		"":            "",
		"no_such = 1": "MariaDB 10.11 cannot be configured as it is wanted: unknown variable 'no_such=1'.",
		"innodb_buffer_pool_size = abc": "MariaDB 10.11 cannot be configured as it is wanted: " +
			"Unknown suffix 'a' used for variable 'innodb-buffer-pool-size' (value 'abc'). " +
			"Legal suffix characters are: K, M, G, T, P, E.",
	} {
		p.Files[configFile] = good + line + "\n"
		err := trial(n, p).Run(t.Context())
		if want == "" && err == nil {
			continue
		}
		if backstay.KindOf(err) != backstay.Unsupported || backstay.SentenceOf(err) != want {
			t.Errorf("%q: got %v, want %q", line, err, want)
		}
	}
}
