package kubernetes

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"time"

	"k8s.io/client-go/dynamic"

	"github.com/backstay/backstay/engine"
)

// Operator is the version of CloudNativePG that this package was tried with, up to the last number.
const Operator = "1.28"

// Config is what a Backend needs to know.
type Config struct {
	Client            dynamic.Interface
	Namespace         string // of all instances
	OperatorNamespace string // where CloudNativePG runs; empty: cnpg-system
	Engines           map[string]engine.Engine
	Images            []Image // the newest first
	StorageClass      string
	Exposure          Exposure
	Repository        *Repository // of backups; nil: none are taken
	// Dial opens a connection from here to an instance's endpoint, or to a service inside the cluster where it has
	// none; nil: as the operating system does.
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	Forwards PodWay  // nil: nobody is told which standby is fit to be read from, and no backup is proved
	Logs     PodLogs // nil: why an upgrade has failed is not told
	Now      func() time.Time
	Log      *slog.Logger
}

// LogValue is no more than where instances lie: the repository has a secret key.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.Namespace) }

// Image is a version of an engine that instances can have.
type Image struct {
	Engine      string `json:"engine"`
	Version     string `json:"version"`      // as plans name it: "15"
	FullVersion string `json:"full_version"` // "15.18"
	Name        string `json:"image"`        // that the cluster pulls, or has
}

// SortImages has the newest versions come first.
func SortImages(all []Image) {
	slices.SortStableFunc(all, func(a, b Image) int { return engine.CompareVersions(b.FullVersion, a.FullVersion) })
}

// Exposure is how credentials name an instance. The zero Exposure is the service's name inside the cluster. An instance
// keeps the way that it was made with.
type Exposure struct {
	// Host has each instance be reached at a port of the nodes, by this name or address.
	Host        string
	First, Last int // of the ports
	// Domain has each instance be reached at a load balancer of its own, by a name in this domain. Host is empty then.
	Domain      string
	Annotations map[string]string // of its service: what those who make load balancers are told
}

func (e Exposure) byNode() bool { return e.Host != "" }
