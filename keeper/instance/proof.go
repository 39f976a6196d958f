package instance

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/process"
	"github.com/backstay/backstay/keeper/node"
	"github.com/backstay/backstay/volume"
)

// proofDir is where backups are restored for a proof, apart from all instances: what ends or removes these is not to
// meet it, and what a keeper leaves that was killed is found without a record.
func (m *Machine) proofDir() string { return filepath.Join(m.DataDir, "proof") }

// proofRunDir is for the sockets of the node that is tried: only one is at a time.
func (m *Machine) proofRunDir() string { return filepath.Join(m.DataDir, "run", ".proof") }

// proofPlace is where the backups of an encrypted instance are restored for a proof: on an encrypted volume of their
// own, whose key nobody keeps.
const proofPlace Place = "proof"

// Prove restores a backup of the instance, and what the archive has behind it, into a scratch place, starts a node
// without ports there, and throws it away as soon as it has answered. It is Invalid if the backup is damaged, and
// Unavailable if the restored node does not serve.
func (in *Instance) Prove(ctx context.Context, r backstay.Repository, to engine.Point) (err error) {
	in.m.proof.Lock()
	defer in.m.proof.Unlock()
	if err := in.m.clearProof(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.m.clearProof(context.WithoutCancel(ctx))) }()
	dir, err := in.makeProofDir(ctx)
	if err != nil {
		return err
	}
	n, err := in.proofNode(dir)
	if err != nil {
		return err
	}
	if err := in.restoreProof(ctx, &n, r, to); err != nil {
		return err
	}
	return tryOut(ctx, n, in.log)
}

// proofNode is the instance's node in the scratch place, where nobody but us can reach it.
func (in *Instance) proofNode(dir string) (node.Node, error) {
	r := in.Record()
	if in.m.Engines[r.Spec.Engine] == nil {
		return node.Node{}, in.noEngine()
	}
	n, err := in.m.node(r, r.spec(r.Started))
	if err != nil {
		return n, err
	}
	n.Dir = dir
	n.DataDir, n.LogFile = filepath.Join(dir, firstData), filepath.Join(dir, "log", "engine.log")
	n.RunDir, n.Program, n.Scratch, n.Groups = in.m.proofRunDir(), "", true, nil
	n.Ports, n.Endpoint, n.TLS = nil, backstay.Endpoint{}, backstay.Certificate{}
	n.Admin = n.Engine.LocalAdmin(n.Node) // of where its data lies
	return n, n.MakeDirs()
}

// makeProofDir makes the directory of the node that is tried. What is encrypted lies nowhere in clear for that.
func (in *Instance) makeProofDir(ctx context.Context) (dir string, err error) {
	r := in.Record()
	if !r.Spec.Volume.Encrypted {
		return filepath.Join(in.m.proofDir(), string(in.ID)), node.MakeDir(in.m.proofDir(), node.ThroughMode())
	}
	key := backstay.Secret(rand.Text() + rand.Text())
	wanted := volume.Wanted{Size: r.volumeSize(), Key: key}
	if dir, err = in.m.Disks.Data().Images().Ensure(ctx, Home(in.ID, proofPlace), wanted); err != nil {
		return dir, volumeTrouble(err)
	}
	return dir, nil
}

// restoreProof makes the data of the node from the backup. A backup from before an upgrade is served by the version
// that has made it.
func (in *Instance) restoreProof(ctx context.Context, n *node.Node, r backstay.Repository, to engine.Point) error {
	archiver, ok := n.Engine.(engine.Archiver)
	if !ok {
		return backstay.Errorf(backstay.Unsupported, "Backups of this engine cannot be restored here.")
	}
	scratch := *n
	scratch.DataDir = scratchOf(*n)
	if err := archiver.Restore(ctx, scratch.Node, r, to); err != nil {
		return err
	}
	if err := os.Rename(scratch.DataDir, n.DataDir); err != nil {
		return err
	}
	made := in.versionOfData(*n)
	if made == "" || made == n.Installation.Version {
		return nil
	}
	installed, err := in.m.Installed.Find(ctx, in.Record().Spec.Engine, made, "")
	n.Installation = installed
	return err
}

// proofPatience is how long a restored node may take until it serves: it may have much of the archive to read first.
const proofPatience = time.Hour

// tryOut starts a node that was restored, and ends it when it serves.
func tryOut(ctx context.Context, n node.Node, log *slog.Logger) (err error) {
	if n.Program, err = n.Prepare(ctx); err != nil {
		return err
	}
	p, err := n.Start(log)
	if err != nil {
		return err
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(ctx, proofPatience)
	defer cancel()
	return n.Await(ctx, p)
}

// SweepProof ends and removes what is left of a proof by a keeper that was killed.
func (m *Machine) SweepProof() error {
	m.proof.Lock()
	defer m.proof.Unlock()
	return m.clearProof(context.Background())
}

// clearProof empties the places of proofs. Nothing in them is worth an orderly end.
func (m *Machine) clearProof(ctx context.Context) error {
	err, dir := m.removeProofVolumes(ctx), m.proofDir()
	if _, none := os.Lstat(dir); !os.IsNotExist(none) {
		err = errors.Join(err, process.KillIn(dir), os.RemoveAll(dir))
	}
	return errors.Join(err, os.RemoveAll(m.proofRunDir()))
}

func (m *Machine) removeProofVolumes(ctx context.Context) error {
	disk := m.Disks.Data()
	pool := disk.Images()
	found, err := pool.Found()
	for _, home := range found {
		if home != Home(OfHome(home), proofPlace) {
			continue
		}
		dir := filepath.Join(disk.Instances(), string(home))
		err = errors.Join(err, process.KillIn(dir), pool.Remove(ctx, home), os.RemoveAll(dir))
	}
	return err
}
