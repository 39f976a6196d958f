package terms

import "github.com/backstay/backstay/engine"

// Builds are the full versions that can be had of each version of an engine, the newest first: of each foundation, as
// [engine.Installation] has it, the newest.
type Builds map[string][]string

// Newest returns the newest build of the version for data that the build served has served: for new data, if that is
// empty, or no more than the version. Where none is newer, and where nothing serves that data, it is served itself.
func (b Builds) Newest(version, served string) string {
	for _, full := range b[version] {
		if served == "" || served == version || full == served || engine.Succeeds(full, served) {
			return full
		}
	}
	return served
}
