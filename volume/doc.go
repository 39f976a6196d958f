// Package volume makes the places where data of instances lies, each with a size, by whatever the machine has: an
// image with a file system of its own (Images), or a directory that is only watched (Directories). It knows no engine
// and no record: whoever keeps instances tells it which volumes there are to be, and how large.
//
// # Images
//
//	ROOT/ID.img          the image: a thin file, with the volume's size in an attribute
//	ROOT/prepared.img    an empty file system, made once; a new image is a copy of its few blocks
//	MOUNTS/ID            where the volume is mounted, by a loop device with direct I/O
//	MOUNTS/ID/.ballast   root's own; see below
//
// The file system is XFS, which clones files by reference. It is as large as the largest volume that can be had,
// whatever the volume's size: of that, the ballast is all that the volume may not use. It is a file of space that is
// reserved and never written, so it takes room within the volume and none on the disk. To grow a volume is to shorten
// its ballast, which takes a moment, under use and without CAP_SYS_RESOURCE.
//
// The kernel frees a loop device by itself when its last user has gone, so that neither a process that dies between
// attaching and mounting nor a test leaves one behind. All that a volume is can be seen on disk: after a reboot or a
// crash, Ensure with the same identifier and size finishes whatever was begun, and Remove undoes it. A damaged volume
// keeps none of the others from being balanced.
//
// # The pool, and why it never gets full
//
// Images are thin: together they may promise more than the disk below, the pool, can hold. A full pool would be an I/O
// error in the middle of a database. A file system that is full, though, is something databases know. So the pool's
// shortage is made the volumes' own: Balance makes ballasts so large that all the free room inside of all volumes
// together is never more than what the pool has free beyond its reserve. When the pool gets narrow, free room goes to
// those that grow (divide says how much), and the last room of each (Last) stays with it: whoever uses up the pool
// never takes it. When only the reserve is left, volumes are full: writes end with "No space left on device", what is
// there can be read and changed, and deleting works, and gives room back to the pool (discard). As every write was paid
// for beforehand, it does not matter how long it takes until Balance is called again, nor whether the process that
// calls it lives. Whoever makes a volume looks first whether there is room for one more (Room, Newcomer).
//
// The reserve is for what is not counted so: the platform's own files, the few blocks by which the host's file
// system describes images, and room that was seen free a moment ago. When the platform has used up half of it, volumes
// still have their last room.
//
// # Encrypted volumes
//
//	ROOT/prepared-encrypted.img   what images by fscrypt are copies of
//	/dev/mapper/backstay-DISK-INODE   what decrypts an image by dm-crypt
//
// A volume with a key is encrypted by the kernel, with a key of the volume's own that lies nowhere on disk: Ensure
// gives it to the kernel, which forgets it when the volume is unmounted. There are two ways (kind). New volumes are
// made by the first that the machine can, and each keeps its own, which is noted on its image.
//
// By dm-crypt, the image is a LUKS2 device, with the XFS of plain volumes in it. A process that dies between opening
// that device and mounting it leaves it behind, as the kernel is only then told to remove it with its last user;
// whatever is done next with the volume removes it.
//
// By fscrypt, the image has ext4 in it, of which only one directory is to be seen. All files in that, and their names,
// are encrypted (AES-256-XTS and AES-256-CTS). Its ballast is a number of the mounted file system
// (/sys/fs/ext4/DEVICE/reserved_clusters): so many blocks are given to nobody. What XFS can do and ext4 cannot is to
// clone files by reference.
package volume
