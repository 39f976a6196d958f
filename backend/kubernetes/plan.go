package kubernetes

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/engine"
)

const (
	mostNodes = 3
	// managing is what the operator's program takes in each node, besides the server.
	managing = 64 * backstay.MB
)

// refusal is Unsupported for what this backend cannot do, whatever the cluster has, and Invalid for what nobody can.
func (c *Config) refusal(s backend.Spec) error {
	refuse := func(what string) error {
		return backstay.Errorf(backstay.Unsupported, "Service instances on Kubernetes %s.", what)
	}
	if err := checkID(s.Instance); err != nil {
		return err
	}
	e, known := c.Engines[s.Engine]
	_, hosted := e.(engine.Hosted)
	has := slices.ContainsFunc(c.Images, func(i Image) bool { return i.Engine == s.Engine })
	switch {
	case s.Generation < 1:
		return backstay.Errorf(backstay.Invalid, "Generation %d of a service instance cannot be.", s.Generation)
	case !known || !hosted || !has:
		return refuse(fmt.Sprintf("are none of %s", cmp.Or(s.Engine, "no product")))
	case s.Nodes > mostNodes:
		return refuse(fmt.Sprintf("have %d nodes at most", mostNodes))
	case s.Reading.Most() > backend.MaxReplicas:
		return refuse(fmt.Sprintf("are read from %d replicas at most, not %d", backend.MaxReplicas, s.Reading.Most()))
	case s.Volume.Encrypted:
		return refuse("are not encrypted by Backstay: a storage class can do it")
	case s.Origin != nil && !s.Origin.Clone && c.Repository == nil:
		return refuse("cannot begin from a backup: Backstay was not told of an object store for these")
	}
	return c.checkBackup(s)
}

// changeable is Unsupported for what an instance, which may be there, cannot become.
func (c *Config) changeable(r record, s backend.Spec, grows bool) error {
	if err := c.built(r, s); err != nil || r.Reached == nil {
		return err
	}
	if s.Version != r.Reached.Version && c.image(r, s) != (Image{}) {
		if err := c.upgradable(r, s); err != nil {
			return err
		}
	}
	has := r.Reached.Size.Storage
	switch {
	case s.Engine != r.Reached.Engine:
		return backstay.Errorf(backstay.Unsupported, "A service instance stays what it is.")
	case s.Private != r.Reached.Private:
		return backstay.Errorf(backstay.Unsupported,
			"A service instance on Kubernetes keeps its endpoint, or has none.")
	case s.Size.Storage < has:
		return backstay.Errorf(backstay.Unsupported,
			"Storage on Kubernetes cannot become less: the service instance has %s, and %s was asked for.",
			has, s.Size.Storage)
	case s.Size.Storage > has && !grows:
		return backstay.Errorf(backstay.Unsupported,
			"%s of the Kubernetes cluster lets no volume grow: the service instance keeps its %s.", c.className(), has)
	}
	return nil
}

func (c *Config) className() string {
	if c.StorageClass == "" {
		return "The default storage class"
	}
	return fmt.Sprintf("The storage class %q", c.StorageClass)
}

// built is Unsupported for a build of which there is no image.
func (c *Config) built(r record, s backend.Spec) error {
	if s.Build != "" && c.image(r, s) == (Image{}) {
		return backstay.Errorf(backstay.Unsupported,
			"Service instances on Kubernetes cannot have the build %s: there is no image of it.", s.Build)
	}
	return nil
}

// image is the one that a Spec asks for, or the zero Image. An instance that has a build keeps it unless another one is
// asked for, also when new ones are made of it no more.
func (c *Config) image(r record, s backend.Spec) Image {
	find := func(full string) Image {
		for _, i := range c.Images {
			if i.Engine == s.Engine && i.Version == s.Version && (full == "" || i.FullVersion == full) {
				return i
			}
		}
		return Image{}
	}
	keeps := r.Build != "" && (r.Reached == nil || r.Reached.Engine == s.Engine && r.Reached.Version == s.Version)
	full := s.Build
	if full == "" && keeps {
		full = r.Build
	}
	i := find(full)
	if i == (Image{}) && keeps && full == r.Build && r.Image != "" {
		return Image{Engine: s.Engine, Version: s.Version, FullVersion: r.Build, Name: r.Image}
	}
	return i
}

// wishFor is what an instance is to consist of, or why it can never be.
func (c *Config) wishFor(r record, s backend.Spec) (wish, error) {
	image := c.image(r, s)
	if image == (Image{}) {
		return wish{}, backstay.Errorf(backstay.Unsupported,
			"There is no image of %s %s for the Kubernetes cluster.", s.Engine, cmp.Or(s.Build, s.Version))
	}
	n := c.node(r, s, image)
	hosting, err := c.Engines[s.Engine].(engine.Hosted).Hosting(n)
	if err != nil {
		return wish{}, err
	}
	memory := s.Size.Memory
	if b, ok := c.Engines[s.Engine].(engine.Bounded); ok {
		memory = b.Bounds(n).Memory
	}
	return wish{
		namespace: c.Namespace, operator: c.OperatorNamespace, spec: s, image: image, storageClass: c.StorageClass,
		hosting: hosting, memory: memory + managing, spread: r.Spread, restarts: r.restarts(), port: r.Port,
		host: r.Host, reads: r.Reads, annotations: c.Exposure.Annotations, repository: c.Repository,
		line: r.Keeping.current().Name, bring: r.Bring, unarchived: r.at(converting),
	}, nil
}

// restarts is how many restarts the operator is to know of: the last one only when it is known what it is to end.
func (r record) restarts() int64 {
	if r.Restarts.Owed && !r.Restarts.Noted {
		return r.Restarts.Count - 1
	}
	return r.Restarts.Count
}

// node is an instance as its engine knows it, but for the way in.
func (c *Config) node(r record, s backend.Spec, image Image) engine.Node {
	n := engine.Node{
		Instance: s.Instance, TLS: s.TLS, Size: s.Size, Settings: s.Settings, Endpoint: c.endpoint(r),
		Installation: image.installation(),
	}
	// Nobody is let in to data that was restored with the users of then, or to a server without its walls.
	if !s.Private && r.settled() && !r.shut() {
		n.Ports = []engine.Port{{Name: engine.ClientPort, Number: serverPort}}
	}
	if s.AllNodes() > 1 {
		n.Replication = &engine.Replication{Name: "node"} // whatever its name: it has company
	}
	return n
}

// product is what users know the one engine as that there is here.
const product = "PostgreSQL"

// installation is an image as engines know what a node runs. It is in no directory of this machine.
func (i Image) installation() engine.Installation {
	return engine.Installation{Product: product, Version: i.Version, FullVersion: i.FullVersion}
}

// endpoint is what credentials name.
func (c *Config) endpoint(r record) backstay.Endpoint {
	switch {
	case r.Spec.Private:
		return backstay.Endpoint{}
	case r.Host != "":
		return backstay.Endpoint{Host: r.Host, Port: serverPort}
	case c.Exposure.byNode() && r.Port > 0:
		return backstay.Endpoint{Host: c.Exposure.Host, Port: r.Port}
	}
	return backstay.Endpoint{Host: c.service(r.Spec.Instance), Port: serverPort}
}
