package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/internal/atomicfile"
	"github.com/backstay/backstay/internal/seal"
	"github.com/backstay/backstay/internal/settings"
	"github.com/backstay/backstay/keeper"
	"github.com/backstay/backstay/state"
)

// sealKeySetting says where the sealing key comes from: the key that opens the keys which everything is sealed with.
const sealKeySetting = "seal-key"

// keeperUnsealsSetting says whether the keeper gets the sealing key by itself.
const keeperUnsealsSetting = "keeper-unseals"

func sealKeySettings() []settings.Setting[config] {
	return []settings.Setting[config]{{
		Name: sealKeySetting, Value: "SOURCE",
		Unit:      "the path of a file that nobody else can read, `credential:NAME`, or `command:PROGRAM ARGUMENT…`",
		Help:      "where the key comes from that opens all secrets of this Backstay",
		Otherwise: "the file seal.key in that of data",
		More: "The first start makes the file, never a later one. `credential:NAME` is a credential of systemd " +
			"(`LoadCredentialEncrypted=NAME:…`), and `command:` a program by its whole path, such as the client of a key " +
			"server, whose standard output is the key: 64 hexadecimal digits, within 30 s. No shell reads its words, which " +
			"spaces divide, and everybody on the machine can see them. Every command that opens secrets wants this setting.",
		Read: func(c *config, text string) (err error) {
			c.SealKey, err = seal.ParseSource(text)
			return err
		},
	}}
}

// completeSealKey sets where the sealing key comes from if nobody has said.
func (c *config) completeSealKey() {
	given := c.InForce[sealKeySetting]
	if given.Text == "" && c.data != "" {
		c.SealKey = seal.Source{File: c.data.sealKey()}
		c.InForce[sealKeySetting] = settings.Given{Text: c.SealKey.String(), From: settings.FromDefault}
	}
	c.sayAgain(sealKeySetting, c.SealKey.String())
}

// Where the envelope lies that the sealing key opens. Until the state database has something that is sealed, it has
// another name, which says that nothing is lost with it.
func (d dataDir) envelopeFile() string    { return filepath.Join(string(d), "keys.sealed") }
func (d dataDir) newEnvelopeFile() string { return d.envelopeFile() + ".new" }

// envelope reads the envelope. It is fs.ErrNotExist if there is none.
func (d dataDir) envelope() (seal.Envelope, error) {
	path := d.envelopeFile()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		path = d.newEnvelopeFile()
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	e, err := seal.ParseEnvelope(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return e, nil
}

// keysSecret is the name that a copy of the envelope has in a database of an operator's own, which may outlive the data
// directory.
const keysSecret = "keys"

// outside is the copy of the envelope in a database of an operator's own; sealed tells whether it has any secret.
func (c *config) outside(ctx context.Context) (e seal.Envelope, sealed bool, err error) {
	if c.Database == "" {
		return nil, false, nil
	}
	text, sealed, err := state.PeekSecret(ctx, c.Database.Reveal(), keysSecret)
	if err != nil || text == nil {
		return nil, sealed, err
	}
	e, err = seal.ParseEnvelope(text)
	return e, sealed, err
}

// loadSealKey gets the sealing key. It is Unavailable where that may come back.
func (c *config) loadSealKey(ctx context.Context) (seal.Key, error) {
	key, err := c.SealKey.Load(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		err = backstay.Errorf(backstay.Unavailable,
			"The sealing key %s is missing: without it no secret of this Backstay can be read, and a new one would not fit. "+
				"Nothing was changed. %s, or say by --%s where it is.", c.SealKey, restoring(c.SealKey), sealKeySetting)
	}
	return key, err
}

// restoring says how a sealing key that is missing comes back.
func restoring(s seal.Source) string {
	if s.Credential != "" {
		return "Have systemd give this process that credential (LoadCredentialEncrypted= of its unit)"
	}
	return "Restore it, a file with mode 0600"
}

// openKeys opens the keys that an earlier start has sealed, and makes nothing.
func (c *config) openKeys(ctx context.Context) (sealing seal.Key, ring seal.Ring, err error) {
	if sealing, err = c.loadSealKey(ctx); err != nil {
		return sealing, ring, err
	}
	ring, err = c.openEnvelope(ctx, sealing)
	return sealing, ring, err
}

func (c *config) openEnvelope(ctx context.Context, sealing seal.Key) (ring seal.Ring, err error) {
	envelope, err := c.data.envelope()
	absent := errors.Is(err, fs.ErrNotExist)
	if err != nil && !absent {
		return ring, err
	}
	if absent || !envelope.Has(sealing) {
		copied, _, err := c.outside(ctx)
		if err != nil {
			return ring, err
		}
		if envelope == nil && copied == nil {
			return c.firstRing(sealing)
		}
		envelope = merged(envelope, copied)
	}
	if ring, err = envelope.Open(sealing); err != nil {
		err = backstay.Errorf(backstay.Invalid, "The sealing key %s is not that of %s: %v.", c.SealKey, c.data, err)
	}
	return ring, err
}

// firstRing is the keys of a Backstay of before there was an envelope, which sealed with the sealing key itself.
func (c *config) firstRing(sealing seal.Key) (ring seal.Ring, err error) {
	if keeper.Sealed(string(c.data)) {
		return ring, backstay.Errorf(backstay.Unavailable, "The file %s is missing: without it the sealing key opens "+
			"nothing, and a new one would not fit. Nothing was changed. Restore it.", c.data.envelopeFile())
	}
	return seal.Ring{State: sealing}, nil
}

func merged(a, b seal.Envelope) seal.Envelope {
	all := seal.Envelope{}
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

// ensureKeys opens the keys, or makes them, and the file of the sealing key, where nothing was ever sealed.
func (c *config) ensureKeys(ctx context.Context) (sealing seal.Key, ring seal.Ring, err error) {
	_, sealed, err := c.outside(ctx)
	if err != nil || sealed || c.data.hasServed() {
		if err == nil {
			sealing, ring, err = c.openKeys(ctx)
		}
		return sealing, ring, err
	}
	sealing, err = c.SealKey.Load(ctx)
	made := c.SealKey.File != "" && errors.Is(err, fs.ErrNotExist)
	switch {
	case made:
		sealing = seal.New()
	case err != nil:
		sealing, err = c.loadSealKey(ctx)
		return sealing, ring, err
	case exists(c.data.newEnvelopeFile()): // of a first start that was killed
		ring, err = c.openEnvelope(ctx, sealing)
		return sealing, ring, err
	}
	ring = seal.NewRing()
	envelope := seal.Envelope{}
	envelope.Add(sealing, ring)
	if err := atomicfile.Write(c.data.newEnvelopeFile(), envelope.Text(), 0o600); err != nil {
		return sealing, ring, fmt.Errorf("keep the keys of this Backstay: %w", err)
	}
	if made {
		err = sealing.Create(c.SealKey.File)
	}
	return sealing, ring, err
}

// sealsRecords tells whether there are keys that a keeper seals its records with.
func (d dataDir) sealsRecords() bool { return exists(d.envelopeFile()) || exists(d.newEnvelopeFile()) }

// recordsKey is what the keeper seals its records with: as serve has handed it over, or from the envelope. It is the
// zero Key where there is none yet.
func (c *config) recordsKey(ctx context.Context, input io.Reader) (seal.Key, error) {
	if !c.data.sealsRecords() {
		return seal.Key{}, nil
	}
	handed, err := readHanded(input)
	switch {
	case err != nil:
		return seal.Key{}, err
	case handed != "":
		return seal.ParseKey(handed)
	case c.keeperUnseals:
		_, ring, err := c.openKeys(ctx)
		return ring.Records, err
	}
	return seal.Key{}, advise(fmt.Errorf("the secrets in the records are sealed, and --%s keeps this keeper from getting "+
		"the key: serve starts it and hands that over", keeperUnsealsSetting), "backstay serve")
}

// readHanded reads what serve has handed over, which is nothing where somebody has typed the command.
func readHanded(input io.Reader) (backstay.Secret, error) {
	if f, ok := input.(*os.File); ok {
		if info, err := f.Stat(); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
			return "", err
		}
	}
	text, err := io.ReadAll(io.LimitReader(input, 2*int64(len(seal.Key{}))))
	return backstay.Secret(text), err
}

// handOver is what the keeper is handed at its start: what opens its records. So it need not get the sealing key anew
// when it is started again, which may not be to be had then.
func (p *platform) handOver(ctx context.Context) (handed backstay.Secret, err error) {
	keys := p.Keys
	if !p.cfg.data.sealsRecords() || keys.Records == (seal.Key{}) && p.cfg.keeperUnseals {
		return "", nil
	}
	if keys.Records == (seal.Key{}) { // serve does not come up, and has a keeper started alone
		if _, keys, err = p.cfg.openKeys(ctx); err != nil {
			return "", err
		}
	}
	return keys.Records.Text(), nil
}

// keepKeys writes down which keys open the state database, once it is known that they do.
func (p *platform) keepKeys(ctx context.Context) error {
	dir, envelope := p.cfg.data, seal.Envelope{}
	incomplete := p.Keys.Records == (seal.Key{}) // whoever made them sealed no records
	if incomplete {
		p.Keys.Records = seal.New()
	}
	envelope.Add(p.SealingKey, p.Keys)
	switch kept, err := dir.envelope(); {
	case exists(dir.newEnvelopeFile()) && !exists(dir.envelopeFile()):
		if err := os.Rename(dir.newEnvelopeFile(), dir.envelopeFile()); err != nil {
			return err
		}
		if err := atomicfile.SyncDir(string(dir)); err != nil {
			return err
		}
	case errors.Is(err, fs.ErrNotExist), err == nil && (incomplete || !kept.Has(p.SealingKey)):
		if err := atomicfile.Write(dir.envelopeFile(), envelope.Text(), 0o600); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	if p.cfg.Database == "" {
		return nil
	}
	copied, _, err := p.cfg.outside(ctx)
	if err != nil || copied != nil && copied.Has(p.SealingKey) {
		return err
	}
	return p.store.SetSecret(ctx, keysSecret, envelope.Text())
}
