package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/client-go/rest"
)

// PodLogs reads the end of what a container of a pod has said.
type PodLogs func(ctx context.Context, namespace, pod, container string) (io.ReadCloser, error)

// LogsOf reads them from the cluster that is reached so.
func LogsOf(way *rest.Config) (PodLogs, error) {
	client, ofPod, err := podsOf(way)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, namespace, pod, container string) (io.ReadCloser, error) {
		u := ofPod(namespace, pod, "log")
		u.RawQuery = url.Values{"container": {container}, "limitBytes": {"1000000"}}.Encode()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return nil, err
		}
		answer, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		if answer.StatusCode != http.StatusOK {
			answer.Body.Close()
			return nil, fmt.Errorf("the log of %s: %s", pod, answer.Status)
		}
		return answer.Body, nil
	}, nil
}

// podsOf is a client of the cluster that is reached so, and where its API has something of a pod.
func podsOf(way *rest.Config) (client *http.Client, ofPod func(namespace, pod, what string) *url.URL, err error) {
	if client, err = rest.HTTPClientFor(way); err != nil {
		return nil, nil, err
	}
	server, _, err := rest.DefaultServerUrlFor(way)
	return client, func(namespace, pod, what string) *url.URL {
		return server.JoinPath("api/v1/namespaces", namespace, "pods", pod, what)
	}, err
}

// saidBy is what a program has said that the operator has run in a pod: each line of its log is an object.
func (b *Backend) saidBy(ctx context.Context, pod, container, program string) (string, error) {
	if b.Logs == nil {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	log, err := b.Logs(ctx, b.Namespace, pod, container)
	if err != nil {
		return "", err
	}
	defer log.Close()
	text, err := io.ReadAll(log)
	if err != nil {
		return "", err
	}
	var said strings.Builder
	for line := range strings.Lines(string(text)) {
		var l struct{ Logger, Msg string }
		if json.Unmarshal([]byte(line), &l) == nil && l.Logger == program {
			fmt.Fprintln(&said, strings.TrimRight(l.Msg, "\n"))
		}
	}
	return said.String(), nil
}
