// Package kubetest is a Kubernetes cluster for tests: real programs, with several nodes, out of what scripts/kubernetes
// has made. It knows nothing of ours; only tests import it.
//
// All of it runs in namespaces of its own, of processes, mounts and network, whose first process dies with the test's:
// the kernel then kills the others, and what they had mounted and joined goes with them. What can be left of a test
// that was killed is therefore a directory and some control groups. Both are called by the number of the cluster, of
// the few that may run on a machine, by a lock each; whoever has that number next removes them first.
//
//	10.88.0.254  API server, DNS      10.96.0.0/16  services
//	10.88.0.1…   nodes                10.85.0.0/16  pods
package kubetest
