package keeper

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/backstay/backstay/internal/atomicfile"
)

// dataFormat is the number of what lies in a data directory. It is raised with whatever a keeper of the version before
// would read wrongly, or leave out in silence, such as a field of a record that says how an instance is to run.
const dataFormat = 5

func (c Config) formatFile() string { return c.dir("keeper", "format") }

// checkFormat refuses a data directory that a newer Backstay has kept, and marks it as ours otherwise. Where there is
// no mark, it is a new one, or that of a Backstay which did not make any.
func (c Config) checkFormat() error {
	text, err := os.ReadFile(c.formatFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the format of the data directory: %w", err)
	}
	var format int
	var version string
	if err == nil {
		if _, err := fmt.Sscan(string(text), &format, &version); err != nil {
			return fmt.Errorf("read the format of the data directory in %s: %w", c.formatFile(), err)
		}
	}
	if format > dataFormat {
		return fmt.Errorf("the data directory %s was kept by a newer Backstay, %s, and this one, %s, would not "+
			"understand all of it: run that, or a later one; nothing was changed", c.DataDir, version, c.Version)
	}
	if format == dataFormat {
		return nil
	}
	return atomicfile.Write(c.formatFile(), fmt.Appendf(nil, "%d %s\n", dataFormat, cmp.Or(c.Version, "unknown")), 0o600)
}
