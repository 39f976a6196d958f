package main

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/keeper"
)

// examineStandbys looks at the directory for standbys: whether it is there, on another disk than the data, and can have
// what the data's can.
func examineStandbys(ctx context.Context, cfg *config, root bool) []finding {
	const what, remedy = "standbys", "backstay doctor --standby-data DIR, with a directory of yours on another disk"
	dir := cfg.standbyData
	switch _, err := os.Stat(dir); {
	case errors.Is(err, os.ErrNotExist):
		return []finding{{lacking, what, dir + " is not there: its disk may not be mounted", "mkdir " + shellQuote(dir)}}
	case err != nil:
		return []finding{unknown(what, err)}
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return []finding{{lacking, what, "cannot write to " + dir, remedy}}
	}
	first := finding{good, what, dir + ": on another disk than the data", ""}
	if sameDisk(string(cfg.data), dir) {
		first = finding{fair, what, dir + ": on the disk of the data, with which both nodes of a database would be lost",
			"backstay serve --standby-data DIR, with a directory on another disk"}
	}
	found := []finding{first, examineSpace(dir, cfg.minFree)}
	if root {
		found = append(found, examineParents(dir))
	}
	return append(found, examineImages(ctx, dir, cfg.volumes)...)
}

// examineImages says whether standbys keep to their storage as their primaries do, and can be encrypted.
func examineImages(ctx context.Context, dir string, wanted keeper.Volumes) []finding {
	const what = "  volumes"
	if wanted == keeper.DirectoryVolumes {
		return nil
	}
	_, images, encrypted := tryImages(ctx, dir)
	switch {
	case images != nil && wanted == keeper.ImageVolumes:
		return []finding{{lacking, what, explain(images), "backstay doctor --volumes auto"}}
	case images != nil:
		return []finding{{fair, what, "no standbys of databases that have images: " + explain(images), ""}}
	case encrypted != nil:
		return []finding{{fair, what, "images, and none that are encrypted: " + explain(encrypted), ""}}
	}
	return []finding{{good, what, "images: standbys keep to their plan's storage", ""}}
}
