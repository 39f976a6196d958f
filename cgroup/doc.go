// Package cgroup puts processes into groups of the kernel, each with limits of its own on memory, processor, disk and
// number of processes. It knows neither engines nor records: whoever starts processes names a group for them and says
// its limits.
//
// The kernel has two interfaces for that, control groups version 1 and 2 (cgroup-v1/ and cgroup-v2.rst of its
// documentation). In version 1 every controller has a tree of its own, below its own mount; in version 2 there is one
// tree for all. Open finds out which of them this machine has, and whether we may make groups in it. The groups of one
// name are
//
//	MOUNT/backstay/NAME/ID     MOUNT: in version 1 one of each controller, in version 2 one
//
// As root they begin at the root of the mount, wherever our own process is: a keeper that is started again, by a
// service manager or by hand, finds the same groups. Otherwise they begin in our own group, if that is delegated to us;
// only version 2 can do that.
//
// The kernel forgets all groups when the machine starts anew. Until then a group is there until it is removed, whoever
// has died, and holds every process that those in it have started.
package cgroup
