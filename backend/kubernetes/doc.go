// Package kubernetes is the backend of a Kubernetes cluster: an instance of PostgreSQL is a Cluster of CloudNativePG's,
// with what belongs to it, in one namespace. It schedules nothing, elects nobody and replicates nothing: the operator
// does. What is wanted lies in a Secret of the cluster for each instance, and one reconciler for each makes it true, by
// server-side apply and watches. What it cannot do is refused as Unsupported, before anything is changed.
//
// What knows PostgreSQL's SQL does not enter: that is the engine's, by [engine.Hosted]. Neither does a typed client.
package kubernetes
