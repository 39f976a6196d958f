package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/backstay/backstay/broker"
)

// TestSettingsOfTheManifests reads what the manifests have "backstay serve" go by in a cluster. All that it sells lives
// in the cluster, and takes and gives what the catalog that is built in does, but for extensions.
func TestSettingsOfTheManifests(t *testing.T) {
	t.Parallel()
	manifests := filepath.Join("..", "..", "deploy", "kubernetes")
	c := &cli{env: func(string) string { return "" }}
	cfg, err := c.serveConfig("serve", []string{"--config", filepath.Join(manifests, "settings.yaml"),
		"--database-url", "host=/run"}) // its own wants the certificate that a pod has
	if err != nil {
		t.Fatal(err)
	}
	for given, file := range map[string]string{cfg.catalog: "catalog.yaml", cfg.kubernetes.kubeconfig: "kubeconfig.yaml"} {
		if given != "/etc/backstay/"+file {
			t.Errorf("the settings name %s, where the manifests put %s", given, file)
		}
	}
	cfg.catalog = filepath.Join(manifests, "catalog.yaml")
	catalog, err := cfg.loadCatalog()
	if err != nil {
		t.Fatal(err)
	}
	if catalog.LivesIn(broker.Local) || !catalog.LivesIn(onKubernetes) {
		t.Error("not all that is sold in a cluster lives there")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "broker", "catalog.yaml")) // the one that is built in
	if err != nil {
		t.Fatal(err)
	}
	extensions := strings.NewReplacer(" pg_stat_statements,", "", " postgis,", "") // but what a cluster need not have
	builtIn, err := broker.ParseCatalog([]byte(extensions.Replace(string(text))))
	if err != nil {
		t.Fatal(err)
	}
	got, want := catalog.Offerings[0], builtIn.Offerings[0]
	want.Backend, want.Sizes = got.Backend, nil
	for _, size := range builtIn.Offerings[0].Sizes {
		if size.Nodes > 1 {
			size.Nodes = 3
		}
		if !size.Encrypted {
			want.Sizes = append(want.Sizes, size)
		}
	}
	if !reflect.DeepEqual(got, want) || len(catalog.Offerings) != 1 {
		t.Errorf("in a cluster is sold\n%+v\nand by the catalog that is built in\n%+v", got, want)
	}
}
