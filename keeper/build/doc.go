// Package build knows the builds of engines that nodes can run: those that are installed on the machine, and those
// that are kept because the machine has them no more.
//
// The distribution replaces programs in their place, and a node is to run the same build until its maintenance window
// comes, also when it is started again in between. So nodes run from copies: as soon as a build is seen to be
// installed, its files are kept below the data directory, most often as hard links, which take no room.
//
//	DATA/builds/postgres/15.18-1c9e0a7b/build.json
//	DATA/builds/postgres/15.18-1c9e0a7b/lib/postgresql/15/bin/postgres …
//
// The name behind the version tells the files apart: a security update of the distribution's may report the same
// version. A copy is made under another name and never changed. It is removed when neither the machine has that build
// nor an instance wants it. Copies belong to whoever runs the keeper, and no node can write to one.
package build
