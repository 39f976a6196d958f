# Prepares the namespaces of a cluster, from inside: prepare.sh MADE RUN NODES
set -eu
made=$1 run=$2 nodes=$3

mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir /run/volumes /run/lock
mount --bind "$run/volumes" /run/volumes

# A kubelet gives values to these, which are the whole machine's: it finds them as it wants them, and leaves them alone.
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 \
	kernel/keys/root_maxbytes=25000000; do
	file=/run/$(echo "${setting%=*}" | tr / -)
	echo "${setting#*=}" >"$file"
	mount --bind "$file" "/proc/sys/${setting%=*}"
done

ip link set lo up
ip link add nodes type bridge
ip addr add 10.88.0.254/24 dev nodes
ip link set nodes up
ip route add 10.96.0.0/16 dev nodes # else services have no address that this machine knows a way to
echo 1 >/proc/sys/net/ipv4/ip_forward
# Who tries from here to come to a port of a node that has no pod behind it is refused, and the kernel remembers the try
# as one that leads nowhere: another from the same port would be refused while it does, though there is a pod by then.
for state in syn_sent close; do
	echo 1 >"/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_$state"
done

# Each node has the images as they were imported: what they consist of is mounted, and only what is written is copied.
i=0
while [ $i -lt "$nodes" ]; do
	i=$((i + 1))
	ip addr add "10.88.0.$i/24" dev nodes
	node=$run/node$i
	mkdir -p "$node/kubelet" "$node/pods" "/run/node$i"
	cd "$made/containerd"
	for database in io.containerd.metadata.v1.bolt/meta.db io.containerd.snapshotter.v1.overlayfs/metadata.db; do
		mkdir -p "$node/containerd/${database%/*}"
		cp "$database" "$node/containerd/$database"
	done
	for part in io.containerd.content.v1.content/blobs io.containerd.snapshotter.v1.overlayfs/snapshots/*; do
		mkdir -p "$node/containerd/$part"
		mount --bind -o ro "$part" "$node/containerd/$part"
	done
done
