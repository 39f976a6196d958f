package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/keeper"
)

// examineEngine looks for the engine's versions, and for what belongs to each of them.
func examineEngine(ctx context.Context, name string, e engine.Engine) []finding {
	installed, err := e.Installations(ctx)
	if err != nil {
		return []finding{unknown(name, err)}
	}
	if len(installed) == 0 {
		return []finding{examineAbsence(name, e)}
	}
	var found []finding
	for _, i := range installed {
		found = append(found, finding{good, name + " " + i.Version, i.Product + " " + i.FullVersion + " in " + i.Dir, ""})
		if u, ok := e.(engine.Unarchived); ok {
			found = append(found, examineBackups(u.LacksForBackups(i)))
		}
		if inspector, ok := e.(engine.Inspector); ok {
			for _, part := range inspector.Inspect(i) {
				found = append(found, examinePart(part))
			}
		}
	}
	return found
}

// examineAbsence is of an engine that is not here. It is not offered, that is all, unless our own state needs it.
func examineAbsence(name string, e engine.Engine) finding {
	f := finding{fair, name, "no usable version", ""}
	if name == stateEngine {
		f.level = lacking
	}
	if foreign, ok := e.(engine.Foreign); ok {
		f.state += ": it takes " + foreign.Needs()
	}
	if p, ok := e.(engine.Packaged); ok {
		f.remedy = "apt-get install " + strings.Join(p.Packages(), " ")
	}
	return f
}

// examineBackups is of an installation that lacks something to be backed up, or nothing.
func examineBackups(lacks string) finding {
	if lacks != "" {
		return finding{fair, "  backups", "none: " + lacks, ""}
	}
	return finding{good, "  backups", "restored to any second", ""}
}

func examinePart(p engine.Part) finding {
	if p.Missing {
		return finding{lacking, "  " + p.Name, "no " + p.File, "apt-get install " + p.Package}
	}
	return finding{good, "  " + p.Name, p.File, ""}
}

func examineCF(ctx context.Context, cf cfCLI) finding {
	home, err := os.MkdirTemp("", "backstay-doctor-") // cf makes its directory, even to say its version
	if err != nil {
		return unknown("cf", err)
	}
	defer os.RemoveAll(home)
	cmd := exec.CommandContext(ctx, cf.program, "version")
	cmd.Env = append(os.Environ(), "CF_HOME="+home)
	out, err := cmd.Output()
	if err != nil {
		return finding{fair, "cf", "not found beside backstay or on the PATH", "make bin/cf"}
	}
	version := strings.TrimPrefix(strings.TrimSpace(string(out)), "cf version ")
	return finding{good, "cf", version + " (" + cf.program + ")", ""}
}

func examineData(dir dataDir, minFree backstay.Bytes, root bool) []finding {
	state := string(dir)
	place := nearestExisting(state)
	if place != state {
		state += " (not made yet)"
	}
	if err := unix.Access(place, unix.W_OK|unix.X_OK); err != nil {
		return []finding{{lacking, "data", "cannot write to " + place,
			"backstay doctor --data DIR, with a directory of yours"}}
	}
	found := []finding{{good, "data", state, ""}, examineSpace(place, minFree), examineClone(place)}
	if root {
		found = append(found, examineParents(place))
	}
	return found
}

// examineFiles looks whether the files that the settings name can be read, and say what they should.
func examineFiles(cfg *config) (found []finding) {
	if cfg.catalog != "" {
		if _, err := cfg.loadCatalog(); err != nil {
			found = append(found, finding{lacking, "catalog", err.Error(),
				"backstay doctor --catalog FILE, with one that is right"})
		}
	}
	return found
}

// examineState looks whether what an earlier start made is still there: our own database and the key to it.
func examineState(ctx context.Context, cfg *config) []finding {
	const what, remedy = "state", "backstay doctor --data DIR, with the directory that has it"
	dir := cfg.data
	if err := dir.stateMissing(); cfg.Database == "" && err != nil {
		return []finding{{lacking, what, err.Error(), remedy}}
	}
	if _, sealed, err := cfg.outside(ctx); err == nil && !sealed && !dir.hasServed() {
		return nil // the first start makes both
	}
	key, _, err := cfg.openKeys(ctx)
	if envelope, _ := dir.envelope(); err == nil && len(envelope) > 1 {
		return []finding{{fair, what, "sealed with keys " + envelope.Fingerprints() + ": a change of the key was interrupted",
			"backstay rotate-seal-key, as before"}}
	}
	if err == nil {
		return []finding{{good, what, "sealed with key " + key.Fingerprint() + ", " + cfg.keyPlace(), ""}}
	}
	return []finding{{lacking, what, err.Error(), cfg.keyRemedy()}}
}

// keyPlace is where the sealing key comes from, and what that means for who gets the disk.
func (c *config) keyPlace() string {
	within, err := filepath.Rel(string(c.data), c.SealKey.File)
	switch {
	case c.SealKey.File == "":
		return "from " + c.SealKey.String() + ", apart from the data"
	case err == nil && filepath.IsLocal(within):
		return "in " + c.SealKey.File + ", beside the data: who gets the disk has both; keep a copy elsewhere"
	case sameDisk(string(c.data), c.SealKey.File):
		return "in " + c.SealKey.File + ", on the disk of the data: who gets that has both; keep a copy elsewhere"
	}
	return "in " + c.SealKey.File + ", apart from the data: keep a copy"
}

// keyRemedy is what helps where the sealing key cannot be had, or does not fit.
func (c *config) keyRemedy() string {
	if info, err := os.Stat(c.SealKey.File); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return "chmod 600 " + shellQuote(c.SealKey.File)
	}
	return "backstay doctor --data DIR --seal-key SOURCE, with the directory and the key that belong together"
}

// nearestExisting returns dir, or the nearest directory above it that exists.
func nearestExisting(dir string) string {
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == "/" {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

func examineSpace(dir string, minFree backstay.Bytes) finding {
	const what = "  free space"
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return unknown(what, err)
	}
	return judgeSpace(s, minFree)
}

// fewFiles is fewer than a database makes in a day without a volume of its own: as many inodes are to be left.
const fewFiles = 5000

// judgeSpace says whether a file system has room, for bytes and for files. One that makes inodes as it goes tells of
// none at all.
func judgeSpace(s unix.Statfs_t, minFree backstay.Bytes) finding {
	const what = "  free space"
	free := backstay.Bytes(s.Bavail) * backstay.Bytes(s.Bsize)
	state := fmt.Sprintf("%.1fGB; a new database must leave %s", float64(free)/float64(backstay.GB), minFree)
	if free < minFree {
		return finding{lacking, what, state, "backstay doctor --data DIR, with a directory that has room"}
	}
	if s.Files > 0 && s.Ffree < fewFiles {
		return finding{lacking, what, fmt.Sprintf("%s; it has inodes for %d more files only", state, s.Ffree),
			"backstay doctor --data DIR, with a directory on a file system that has more inodes"}
	}
	return finding{good, what, state, ""}
}

// examineClone tries whether the file system can copy a file without copying its data.
func examineClone(dir string) finding {
	const what = "  cloning"
	from, err := nameless(dir)
	if err != nil {
		return unknown(what, err)
	}
	defer from.Close()
	to, err := nameless(dir)
	if err != nil {
		return unknown(what, err)
	}
	defer to.Close()
	if _, err := from.Write(make([]byte, 4096)); err != nil {
		return unknown(what, err)
	}
	if err := unix.IoctlFileClone(int(to.Fd()), int(from.Fd())); err != nil {
		return finding{fair, what, "not with this file system: new databases are copied, which takes longer", ""}
	}
	return finding{good, what, "new databases share blocks with their template", ""}
}

// nameless makes a file in dir that goes with its descriptor.
func nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".doctor-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// examineParents looks whether the users that databases run as can reach what lies below dir.
func examineParents(dir string) finding {
	const what = "  way in"
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return unknown(what, err)
		}
		if info.Mode().Perm()&0o001 == 0 {
			return finding{lacking, what, "users that databases run as cannot pass through " + dir,
				"chmod o+x " + shellQuote(dir)}
		}
		if dir == "/" {
			return finding{good, what, "every directory above can be passed through", ""}
		}
	}
}

// examineAddress looks whether what a setting names can be listened on.
func examineAddress(what, setting, listen string, dir dataDir) finding {
	l, err := net.Listen("tcp", listen)
	if err == nil {
		l.Close()
		return finding{good, what, listen + " is free", ""}
	}
	if pid, _ := process.PIDFileHolder(dir.servePID()); pid != 0 {
		return finding{good, what, fmt.Sprintf("%s is in use; backstay serve runs here as process %d", listen, pid), ""}
	}
	return finding{lacking, what, fmt.Sprintf("%s cannot be had: %v", listen, err),
		"backstay doctor --" + setting + " 127.0.0.1:PORT, with another port"}
}

// examinePorts looks whether databases can have their ports: connections of any process to anywhere
// may take one that lies in the kernel's range for outgoing connections.
func examinePorts(host string, ports keeper.PortRange) finding {
	const what = "endpoint ports"
	if err := checkListen(host); err != nil {
		return finding{lacking, what, err.Error(), "backstay doctor --endpoint-listen ADDR, with an address of this machine"}
	}
	held, err := inUse(ports)
	if err != nil {
		return unknown(what, err)
	}
	state := fmt.Sprintf("%d to %d, %d in use", ports.First, ports.Last, held)
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return unknown(what, err)
	}
	var first, last int
	if _, err := fmt.Sscan(string(text), &first, &last); err != nil {
		return unknown(what, err)
	}
	if first <= ports.Last && ports.First <= last {
		state += fmt.Sprintf("; outgoing connections of this machine use %d to %d too", first, last)
		return finding{fair, what, state, "backstay doctor --ports FIRST-LAST, with a range outside of that"}
	}
	return finding{good, what, state, ""}
}

// inUse counts the ports at which somebody listens. It binds none to find out: whoever starts a database at that moment
// would find the port taken.
func inUse(ports keeper.PortRange) (int, error) {
	const listening = 10 // TCP_LISTEN of Linux' net/tcp_states.h
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, err
	}
	sockets, err := proc.NetTCP()
	if err != nil {
		return 0, err
	}
	if six, err := proc.NetTCP6(); err == nil { // there is none where the system has no IPv6
		sockets = append(sockets, six...)
	}
	held := map[uint64]bool{}
	for _, s := range sockets {
		if port := int(s.LocalPort); s.St == listening && port >= ports.First && port <= ports.Last {
			held[s.LocalPort] = true
		}
	}
	return len(held), nil
}

// examineUsers looks whether databases can run as users of their own, walled off from each other by
// the kernel. In a container, root may have few users to give.
func examineUsers(root bool) finding {
	const what = "users"
	if !root {
		return finding{fair, what, "we are not root: every database runs as the user that we are", ""}
	}
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return unknown(what, err)
	}
	if fields := strings.Fields(string(text)); len(fields) != 3 || fields[2] != "4294967295" {
		return finding{fair, what, "we are root of a container, which may have too few users for a database each", ""}
	}
	return finding{good, what, "we are root: each database runs as a user of its own", ""}
}
