package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/backstay/backstay/backend/kubernetes"
	"github.com/backstay/backstay/internal/settings"
)

// kubernetesRepositorySettings say where instances on Kubernetes are backed up to: another place than the others,
// since their pods write there themselves, and what they write is not sealed.
func kubernetesRepositorySettings() []settings.Setting[config] {
	const bucketUnit = "the name of a bucket, which must be there"
	return []settings.Setting[config]{{
		Name: "kubernetes-repository-endpoint", Value: "HOST", Unit: "a host, or HOST:PORT",
		Help: "back these instances up to the object store at this address, which speaks S3 over TLS",
		More: "It needs a bucket, an access key and the file of the secret key, which the pods of all instances are given. " +
			"What lies there is encrypted only if the store does it.",
		Otherwise: "they are not backed up",
		Read:      storeAddress(func(c *config) *string { return &c.kubernetes.objects().Endpoint }),
	}, {
		Name: "kubernetes-repository-inside", Value: "HOST", Unit: "a host, or HOST:PORT",
		Help: "the address by which pods reach it", Otherwise: "the same",
		Read: storeAddress(func(c *config) *string { return &c.kubernetes.objects().Inside }),
	}, {
		Name: "kubernetes-repository-bucket", Value: "NAME", Unit: bucketUnit,
		Help: "the bucket of the object store",
		Read: matching(bucketName, "the name of a bucket, as in my-backups",
			func(c *config) *string { return &c.kubernetes.objects().Bucket }),
	}, {
		Name: "kubernetes-repository-prefix", Value: "PATH",
		Unit: "words of letters, digits, and any of . _ -, with slashes between",
		Help: "begin the names of all objects in the bucket so",
		More: "It keeps two Backstays with one bucket apart.",
		Read: matching(objectPrefix, "a path without slashes at its ends, as in backstay/one",
			func(c *config) *string { return &c.kubernetes.objects().Prefix }),
	}, {
		Name: "kubernetes-repository-region", Value: "NAME", Unit: "the name of a region",
		Help: "the region of the bucket", Otherwise: "us-east-1, which is that of most stores that have none",
		Read: text(func(c *config) *string { return &c.kubernetes.objects().Region }),
	}, {
		Name: "kubernetes-repository-access-key", Value: "KEY", Unit: "an access key's id, which is no secret",
		Help: "the access key of the object store",
		Read: text(func(c *config) *string { return &c.kubernetes.objects().AccessKey }),
	}, {
		Name: "kubernetes-repository-secret-key-file", Value: "FILE", Unit: "the path of a file that nobody else can read",
		Help: "the file with the secret that belongs to the access key, and nothing else",
		Read: absolute(func(c *config) *string { return &c.kubernetes.secretKeyFile }),
	}, {
		Name: "kubernetes-repository-authority", Value: "FILE", Unit: "the path of a file, PEM",
		Help: "the certificates to trust for the object store", Otherwise: "those that the machine, and the images, trust",
		Read: absolute(func(c *config) *string { return &c.kubernetes.objects().Authority }),
	}}
}

// storeAddress reads where an object store is.
func storeAddress(field func(*config) *string) func(*config, string) error {
	return func(c *config, text string) error {
		*field(c) = text
		if u, err := url.Parse("https://" + text); err != nil || u.Host != text || !reachable(u) {
			return errors.New("is not HOST or HOST:PORT, as in s3.example.org")
		}
		return nil
	}
}

// objects is the object store of the settings. The first setting that speaks of it makes it.
func (k *cluster) objects() *kubernetes.Repository {
	if k.repository == nil {
		k.repository = &kubernetes.Repository{}
	}
	return k.repository
}

// mistakes is what does not go together.
func (k *cluster) mistakes() (mistakes settings.Mistakes) {
	if k.repository == nil && k.secretKeyFile == "" {
		return nil
	}
	o := k.objects()
	for _, must := range []struct{ name, value string }{
		{"endpoint", o.Endpoint}, {"bucket", o.Bucket}, {"access-key", o.AccessKey}, {"secret-key-file", k.secretKeyFile},
	} {
		if must.value == "" {
			mistakes = append(mistakes,
				"An object store for backups on Kubernetes needs --kubernetes-repository-"+must.name+".")
		}
	}
	return mistakes
}

// openRepository reads what is in files.
func (k cluster) openRepository() (*kubernetes.Repository, error) {
	if k.repository == nil {
		return nil, nil
	}
	r := *k.repository
	var err error
	if r.SecretKey, err = readSecretKey(k.secretKeyFile); err != nil {
		return nil, err
	}
	if r.Authority == "" {
		return &r, nil
	}
	trusted, err := os.ReadFile(r.Authority)
	if err != nil {
		return nil, fmt.Errorf("the certificates to trust for backups on Kubernetes: %w", err)
	}
	r.Trusted = string(trusted)
	return &r, nil
}
