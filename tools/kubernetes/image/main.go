// Program image makes a container image of one layer, which is a tar archive that is there: a tar archive again, laid
// out as OCI's image-spec has it (image-layout.md), which "ctr images import" takes. The same layer gives the same image.
//
//	image LAYER NAME:TAG OUT [PROGRAM]
package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
)

const kind = "application/vnd.oci.image."

// object is one of JSON's.
type object map[string]any

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: image LAYER NAME:TAG OUT [PROGRAM]")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// write makes the image, which runs the program if nobody says what else.
func write(from, name, to string, program []string) error {
	layer, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	archive := &archive{Writer: tar.NewWriter(out)}
	config := archive.object("config.v1+json", object{
		"architecture": runtime.GOARCH, "os": runtime.GOOS,
		"config": object{"Env": []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, "Entrypoint": program},
		"rootfs": object{"type": "layers", "diff_ids": []string{digest(layer)}},
	})
	manifest := archive.object("manifest.v1+json", object{
		"schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
		"config": config, "layers": []object{archive.blob("layer.v1.tar", layer)},
	})
	_, tag, _ := strings.Cut(name, ":")
	manifest["annotations"] = object{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
	archive.file("index.json", encode(object{"schemaVersion": 2, "manifests": []object{manifest}}))
	archive.file("oci-layout", encode(object{"imageLayoutVersion": "1.0.0"}))
	if archive.err == nil {
		archive.err = archive.Close()
	}
	if err := out.Close(); archive.err == nil {
		archive.err = err
	}
	return archive.err
}

// archive is what is written; after a failure it takes no more.
type archive struct {
	*tar.Writer
	err error
}

// object adds a description in JSON, and returns how others refer to it.
func (a *archive) object(media string, o object) object { return a.blob(media, encode(o)) }

func (a *archive) blob(media string, content []byte) object {
	a.file("blobs/"+strings.Replace(digest(content), ":", "/", 1), content)
	return object{"mediaType": kind + media, "digest": digest(content), "size": len(content)}
}

func (a *archive) file(name string, content []byte) {
	if a.err == nil {
		a.err = a.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
	}
	if a.err == nil {
		_, a.err = a.Write(content)
	}
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// encode is for what always can be.
func encode(o object) []byte {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return text
}
