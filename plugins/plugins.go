// Package plugins is a repository of plugins for the genuine cf command: the list that "cf
// add-plugin-repo" and "cf install-plugin" ask for, and the binaries that it names with their
// checksums. It serves what lies in a directory; it builds nothing and knows no other room.
package plugins

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// Path is where the API has its repository.
const Path = "/plugins"

// Repository serves one plugin, conduit. Its fields are set once, before Handler is called.
type Repository struct {
	Dir     string // holds cf-conduit-PLATFORM for each platform; may be absent
	URL     string // where clients reach the repository
	Version string // of Backstay, whose plugin has the same
	Log     *slog.Logger

	mu   sync.Mutex
	sums map[string]sum
}

// sum is a file's checksum for as long as the file stays as it is.
type sum struct {
	size     int64
	modified time.Time
	sha1     string
}

// platforms are the cf command's names for where it runs, each with what its file is called. A cf on
// Linux and ARM has no name for that.
var platforms = []struct{ name, file string }{
	{
		"linux64", "linux64",
	},
	{"linux32", "linux32"},
	{"", "linux-arm64"},
	{"osx", "osx"},
	{"win64", "win64"},
	{"win32", "win32"},
}

// Handler answers GET /list and GET /conduit/PLATFORM.
func (r *Repository) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /list", r.list)
	mux.HandleFunc("GET /conduit/{file}", r.download)
	return mux
}

type plugin struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Version     string   `json:"version"`
	Company     string   `json:"company"`
	Homepage    string   `json:"homepage"`
	Authors     []author `json:"authors"`
	Created     string   `json:"created"`
	Updated     string   `json:"updated"`
	Binaries    []binary `json:"binaries"`
}

type author struct {
	Name string `json:"name"`
}

type binary struct {
	Platform string `json:"platform"`
	URL      string `json:"url"`
	Checksum string `json:"checksum"` // SHA-1: the cf command knows no other
}

func (r *Repository) list(w http.ResponseWriter, _ *http.Request) {
	plugins, err := r.plugins()
	if err != nil {
		r.Log.Error("plugins cannot be listed", "error", err)
		http.Error(w, "The plugins cannot be read.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"plugins": plugins})
}

// plugins is empty, and not absent, when there are no binaries.
func (r *Repository) plugins() ([]plugin, error) {
	var latest time.Time
	p := plugin{
		Name: "conduit", Description: "Connect to service instances from your own machine", Version: Semantic(r.Version),
		Company: "Backstay", Homepage: "https://github.com/backstay/backstay", Authors: []author{{Name: "Backstay"}},
	}
	for _, on := range platforms {
		s, err := r.sum(on.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p.Binaries = append(p.Binaries, binary{on.name, r.URL + "/conduit/" + on.file, s.sha1})
		if s.modified.After(latest) {
			latest = s.modified
		}
	}
	if len(p.Binaries) == 0 {
		return []plugin{}, nil
	}
	p.Created = latest.UTC().Format(time.RFC3339)
	p.Updated = p.Created
	return []plugin{p}, nil
}

func (r *Repository) path(file string) string { return filepath.Join(r.Dir, "cf-conduit-"+file) }

// sum reads a file again only when it has changed: anyone may ask for the list.
func (r *Repository) sum(file string) (sum, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := os.Open(r.path(file))
	if err != nil {
		return sum{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return sum{}, err
	}
	if kept, ok := r.sums[file]; ok && kept.size == info.Size() && kept.modified.Equal(info.ModTime()) {
		return kept, nil
	}
	h := sha1.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum{}, fmt.Errorf("read plugin %s: %w", file, err)
	}
	if r.sums == nil {
		r.sums = map[string]sum{}
	}
	r.sums[file] = sum{info.Size(), info.ModTime(), hex.EncodeToString(h.Sum(nil))}
	return r.sums[file], nil
}

// downloadPatience is for a slow line; the API's own limit is for small answers.
const downloadPatience = 15 * time.Minute

func (r *Repository) download(w http.ResponseWriter, request *http.Request) {
	file := request.PathValue("file")
	known := false
	for _, on := range platforms {
		known = known || on.file == file
	}
	if !known {
		http.NotFound(w, request)
		return
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(downloadPatience))
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeFile(w, request, r.path(file))
}

var semantic = regexp.MustCompile(`^v?(\d+)\.(\d+)\.(\d+)`)

// Semantic is the part of a build's version that the cf command can compare, 1.0.0 if there is none. Of all
// repositories that have the plugin the cf command takes the newest: the community's older one is at 0.0.x.
func Semantic(version string) string {
	m := semantic.FindString(version)
	if m == "" || m == "v0.0.0" || m == "0.0.0" {
		return "1.0.0"
	}
	if m[0] == 'v' {
		return m[1:]
	}
	return m
}
