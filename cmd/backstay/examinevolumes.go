package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/volume"
)

// examineVolumes makes a volume below an existing directory, and says whether new databases keep to their storage.
func examineVolumes(ctx context.Context, place string, wanted keeper.Volumes) finding {
	const what = "volumes"
	if wanted == keeper.DirectoryVolumes {
		return finding{fair, what, "directories, as --volumes says: nothing keeps a database to its plan's storage", ""}
	}
	why := tryImages(ctx, place)
	switch {
	case why == nil:
		return finding{good, what, "images: new databases keep to their plan's storage", ""}
	case wanted == keeper.ImageVolumes:
		return finding{lacking, what, explain(why), "backstay doctor --volumes auto"}
	}
	return finding{fair, what, "directories. " + explain(why), ""}
}

func tryImages(ctx context.Context, place string) error {
	dir, err := os.MkdirTemp(place, ".volumes-")
	if err != nil {
		return err
	}
	images := volume.Images{Root: filepath.Join(dir, "images"), Mounts: filepath.Join(dir, "mounts")}
	return errors.Join(images.Try(ctx), os.RemoveAll(dir))
}

// explain is a sentence, and what is behind it.
func explain(err error) string {
	text := backstay.SentenceOf(err)
	if cause := errors.Unwrap(err); cause != nil && cause.Error() != text {
		text += " (" + cause.Error() + ")"
	}
	return text
}
