package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/backstay/backstay/backend"
	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/broker"
	"github.com/backstay/backstay/internal/settings"
)

// onKubernetes is what plans and the ledger call the backend of a Kubernetes cluster.
const onKubernetes = "kubernetes"

// cluster is what is given of a Kubernetes cluster. Without a kubeconfig there is none.
type cluster struct {
	kubeconfig, namespace, storageClass, operator string
	images                                        []kubernetes.Image
	exposure                                      kubernetes.Exposure
	repository                                    *kubernetes.Repository // without what is in files; nil: there is none
	secretKeyFile                                 string
}

func kubernetesSettings() []settings.Setting[config] {
	return append([]settings.Setting[config]{{
		Name: "kubeconfig", Value: "FILE", Unit: "the path of a file",
		Help: "also keep instances in the Kubernetes cluster that this file leads to: see docs/kubernetes.md",
		Read: text(func(c *config) *string { return &c.kubernetes.kubeconfig }),
	}, {
		Name: "kubernetes-namespace", Value: "NAME", Unit: "the name of a namespace",
		Help: "where all of these lie", Default: "backstay-services",
		Read: text(func(c *config) *string { return &c.kubernetes.namespace }),
	}, {
		Name: "kubernetes-operator-namespace", Value: "NAME", Unit: "the name of a namespace",
		Help: "where CloudNativePG runs", Default: "cnpg-system",
		Read: text(func(c *config) *string { return &c.kubernetes.operator }),
	}, {
		Name: "kubernetes-storage-class", Value: "NAME", Unit: "the name of a storage class",
		Help: "of their volumes", Otherwise: "the cluster's default class",
		Read: text(func(c *config) *string { return &c.kubernetes.storageClass }),
	}, {
		Name: "kubernetes-images", Value: "IMAGE,…", List: true,
		Unit: "names of images with commas between them, or a list of them",
		Help: "the images of PostgreSQL, whose tags are full versions, as in registry.example/postgresql:15.18",
		Read: func(c *config, text string) (err error) {
			c.kubernetes.images, err = parseImages(text)
			return err
		},
	}, {
		Name: "kubernetes-node-host", Value: "HOST", Unit: "a host or an address",
		Help:      "by which clients reach the machines of the cluster, at a port for each instance",
		Otherwise: "clients are in the cluster, and are given the names of services there",
		Read:      text(func(c *config) *string { return &c.kubernetes.exposure.Host }),
	}, {
		Name: "kubernetes-node-ports", Value: "FIRST-LAST", Unit: "two numbers with a dash between them",
		Help: "these ports", Default: "30000-32767",
		Read: func(c *config, text string) error {
			first, last, _ := strings.Cut(text, "-")
			e := &c.kubernetes.exposure
			var low, high error
			e.First, low = strconv.Atoi(first)
			e.Last, high = strconv.Atoi(last)
			if low != nil || high != nil || e.First < 1 || e.First > e.Last || e.Last > 65535 {
				return errors.New("is no range of ports, as in 30000-32767")
			}
			return nil
		},
	}, {
		Name: "kubernetes-load-balancer-domain", Value: "DOMAIN", Unit: "a domain",
		Help: "instead, each instance has a load balancer of the cluster's, and clients reach it by a name in this domain",
		Read: func(c *config, domain string) error {
			if len(validation.IsDNS1123Subdomain(domain)) > 0 {
				return errors.New("is no domain, as in databases.example.org")
			}
			c.kubernetes.exposure.Domain = domain
			return nil
		},
	}, {
		Name: "kubernetes-load-balancer-annotations", Value: "KEY=VALUE,…", List: true,
		Unit: "annotations with commas between them, or a list of them",
		Help: "what whoever makes load balancers is told about each",
		Read: func(c *config, text string) (err error) {
			c.kubernetes.exposure.Annotations, err = parseAnnotations(text)
			return err
		},
	}}, kubernetesRepositorySettings()...)
}

// parseAnnotations reads annotations of a service.
func parseAnnotations(text string) (map[string]string, error) {
	all := map[string]string{}
	for one := range strings.SplitSeq(text, ",") {
		key, value, is := strings.Cut(strings.TrimSpace(one), "=")
		if !is || len(validation.IsQualifiedName(strings.ToLower(key))) > 0 {
			return nil, fmt.Errorf("has %q, which is no annotation, as in example.org/scope=internal", one)
		}
		all[key] = value
	}
	return all, nil
}

// parseImages reads names of images whose tags are full versions of PostgreSQL. The newest comes first.
func parseImages(text string) (all []kubernetes.Image, err error) {
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		tag := name[strings.LastIndexByte(name, ':')+1:]
		version, minor, _ := strings.Cut(tag, ".")
		if _, err := strconv.Atoi(version); err != nil || tag == name {
			return nil, fmt.Errorf("has %q, which does not end with a full version, as in postgresql:15.18", name)
		}
		if _, err := strconv.Atoi(minor); err != nil {
			return nil, fmt.Errorf("has %q, which does not end with a full version, as in postgresql:15.18", name)
		}
		all = append(all, kubernetes.Image{Engine: "postgres", Version: version, FullVersion: tag, Name: name})
	}
	kubernetes.SortImages(all)
	return all, nil
}

// read returns how the cluster is reached, or nil where there is none. It asks the cluster nothing.
func (k cluster) read() (*rest.Config, error) {
	if k.kubeconfig == "" {
		return nil, nil
	}
	if k.exposure.Host != "" && k.exposure.Domain != "" {
		return nil, errors.New("--kubernetes-node-host and --kubernetes-load-balancer-domain exclude each other: " +
			"clients reach an instance by one of them")
	}
	way, err := clientcmd.BuildConfigFromFlags("", k.kubeconfig)
	if err == nil {
		_, err = rest.HTTPClientFor(way) // which reads the files that it names
	}
	if err != nil {
		return nil, advise(fmt.Errorf("the kubeconfig %s cannot be used: %w", k.kubeconfig, err),
			"kubectl --kubeconfig %s get namespaces", k.kubeconfig)
	}
	way.WarningHandler = rest.NoWarnings{} // of every apply that the operator's own Barman goes with its next version
	way.QPS, way.Burst = 50, 100           // the client's own measure, of 5 a second, is for people
	return way, nil
}

// open returns the backend of the cluster that is reached so, or nil where there is none.
func (k cluster) open(c *config, way *rest.Config, log *slog.Logger) (*kubernetes.Backend, error) {
	if way == nil {
		return nil, nil
	}
	klog.SetSlogLogger(log) // what client-go tells is of the log too
	client, err := dynamic.NewForConfig(way)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", k.kubeconfig, err)
	}
	repository, err := k.openRepository()
	if err != nil {
		return nil, err
	}
	logs, err := kubernetes.LogsOf(way)
	if err != nil {
		return nil, err
	}
	forwards, err := kubernetes.ForwardsOf(way)
	if err != nil {
		return nil, err
	}
	return kubernetes.New(kubernetes.Config{
		Repository: repository, Logs: logs, Forwards: forwards,
		Client: client, Namespace: k.namespace, OperatorNamespace: k.operator, Engines: c.engines(), Images: k.images,
		StorageClass: k.storageClass, Exposure: k.exposure, Log: log,
	}), nil
}

// backends are the places where instances live, by the names that plans give.
func (c *config) backends() []string {
	names := []string{broker.Local}
	if c.kubernetes.kubeconfig != "" {
		names = append(names, onKubernetes)
	}
	return names
}

// withCluster adds the backend of the cluster, where there is one.
func withCluster(all map[string]backend.Backend, b *kubernetes.Backend) map[string]backend.Backend {
	if b != nil {
		all[onKubernetes] = b
	}
	return all
}
