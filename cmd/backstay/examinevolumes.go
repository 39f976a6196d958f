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

// examineVolumes makes volumes below an existing directory, and says whether new databases keep to their storage and
// can be encrypted.
func examineVolumes(ctx context.Context, place string, wanted keeper.Volumes) []finding {
	const what = "volumes"
	if wanted == keeper.DirectoryVolumes {
		return []finding{
			{fair, what, "directories, as --volumes says: nothing keeps a database to its plan's storage", ""},
			noEncryption("directories cannot be encrypted"),
		}
	}
	way, images, encrypted := tryImages(ctx, place)
	switch {
	case images == nil && encrypted == nil:
		return []finding{
			{good, what, "images: new databases keep to their plan's storage", ""},
			{good, "encryption", "by " + way + ": plans with ENC in their names are sold", ""},
		}
	case images == nil:
		return []finding{
			{good, what, "images: new databases keep to their plan's storage", ""}, noEncryption(explain(encrypted)),
		}
	case backstay.KindOf(images) == backstay.Unavailable:
		return []finding{{fair, what, "no new databases before that has passed: " + explain(images), ""}}
	case wanted == keeper.ImageVolumes:
		return []finding{{lacking, what, explain(images), "backstay doctor --volumes auto"}}
	}
	return []finding{
		{fair, what, "directories. " + explain(images), ""}, noEncryption("directories cannot be encrypted"),
	}
}

func noEncryption(why string) finding {
	return finding{fair, "encryption", "no plans with ENC in their names are sold: " + why, ""}
}

// tryImages tells why there can be no images below a directory, and by which way they can be encrypted or why not.
func tryImages(ctx context.Context, place string) (way string, images, encrypted error) {
	dir, err := os.MkdirTemp(place, ".volumes-")
	if err != nil {
		return "", err, err
	}
	pool := volume.Images{Root: filepath.Join(dir, "images"), Mounts: filepath.Join(dir, "mounts")}
	if images = pool.Try(ctx); images == nil {
		way, encrypted = pool.Encryption(ctx)
	}
	return way, errors.Join(images, os.RemoveAll(dir)), encrypted
}

// explain is a sentence, and what is behind it.
func explain(err error) string {
	text := backstay.SentenceOf(err)
	if cause := errors.Unwrap(err); cause != nil && cause.Error() != text {
		text += " (" + cause.Error() + ")"
	}
	return text
}
