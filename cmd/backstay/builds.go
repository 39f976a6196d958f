package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/keeper"
)

// examineBuilds tells which builds of an engine are kept, for which instances, and where a newer one is installed.
func examineBuilds(ctx context.Context, name string, e engine.Engine, data string) []finding {
	kept, err := keeper.KeptBuilds(data, name)
	if err != nil {
		return []finding{unknown("  builds of "+name, err)}
	}
	installed, err := e.Installations(ctx)
	if err != nil {
		return []finding{unknown("  builds of "+name, err)}
	}
	var found []finding
	for _, k := range kept {
		found = append(found, examineBuild(k, installed))
	}
	return found
}

func examineBuild(k keeper.KeptBuild, installed []engine.Installation) finding {
	what := "  build " + k.FullVersion
	state := fmt.Sprintf("%s; %s, which takes %.1fMB", usedBy(k.Instances), k.Copy, float64(k.Size)/float64(backstay.MB))
	newer := slices.IndexFunc(installed, func(i engine.Installation) bool {
		return i.Version == k.Version && engine.Succeeds(i.FullVersion, k.FullVersion)
	})
	if newer < 0 || len(k.Instances) == 0 {
		return finding{good, what, state, ""}
	}
	state += fmt.Sprintf(". %s is installed: they change to it in their maintenance windows, or by cf upgrade-service",
		installed[newer].FullVersion)
	if slices.Contains(k.Instances, stateInstance) {
		state += "; our own database does when it is next started"
	}
	return finding{fair, what, state, ""}
}

// usedBy tells how many run from a build, and who the first of them are.
func usedBy(instances []backstay.InstanceID) string {
	const most = 5
	if len(instances) == 0 {
		return "used by no instance"
	}
	var names []string
	for _, id := range instances[:min(len(instances), most)] {
		names = append(names, string(id))
	}
	if len(instances) > most {
		names = append(names, "…")
	}
	return fmt.Sprintf("used by %d (%s)", len(instances), strings.Join(names, ", "))
}
