package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/backstay/backstay/backend/kubernetes"
)

// examineCluster looks at the Kubernetes cluster that is given, if there is one.
func examineCluster(ctx context.Context, cfg *config) (found []finding) {
	const what = "Kubernetes"
	way, err := cfg.kubernetes.read()
	if err != nil {
		remedy := "kubectl --kubeconfig " + cfg.kubernetes.kubeconfig + " get namespaces"
		return []finding{{lacking, what, err.Error(), remedy}}
	}
	b, err := cfg.kubernetes.open(cfg, way, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		return []finding{unknown(what, err)}
	}
	if b == nil {
		return nil
	}
	found = []finding{{good, what, cfg.kubernetes.kubeconfig, ""}}
	levels := map[kubernetes.Level]level{kubernetes.Good: good, kubernetes.Fair: fair, kubernetes.Lacking: lacking}
	for _, f := range b.Examine(ctx) {
		found = append(found, finding{levels[f.Level], "  " + f.What, f.State, f.Remedy})
	}
	return found
}
