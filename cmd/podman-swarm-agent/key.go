package main

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// keyName is the name of the key's file, in the data dir and among systemd's credentials.
const keyName = "encryption.key"

// keyNext is where the key is that a reseal under way is about to make the one.
const keyNext = keyName + ".next"

// keyring is where the keys of a data dir are looked for: what systemd hands over goes before what lies in the data dir.
type keyring struct {
	dataDir     string
	credentials string // "": none
}

// logKey is the key that the log of a data dir is sealed with; nil where it is plain.
func (k keyring) logKey() (*events.Key, error) {
	s, err := events.SealingOf(filepath.Join(k.dataDir, "events"))
	switch {
	case err == nil && !s.New && s.Key == (events.KeyID{}):
		return nil, nil
	case err == nil && !s.New:
		return k.find(s.Key)
	}
	key, err := k.there() // MANIFEST is lost, and does not say which
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return key, err
}

// there is the key that there is, whatever it is for. The error wraps fs.ErrNotExist where there is none.
func (k keyring) there() (*events.Key, error) {
	key, err := readKey(k.credential(), false)
	if errors.Is(err, fs.ErrNotExist) {
		return readKey(filepath.Join(k.dataDir, keyName), true)
	}
	return key, err
}

// find is the key with that id.
func (k keyring) find(want events.KeyID) (*events.Key, error) {
	there := ""
	for _, path := range []string{k.credential(), filepath.Join(k.dataDir, keyName), filepath.Join(k.dataDir, keyNext)} {
		key, err := readKey(path, path != k.credential())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if key.ID() == want {
			return key, nil
		}
		there += fmt.Sprintf("; %s is key %v", path, key.ID())
	}
	what := fmt.Sprintf("the log in %s is sealed with key %v", k.dataDir, want)
	if there != "" {
		return nil, fmt.Errorf("%s%s: %w. Put the right one there", what, there, events.ErrWrongKey)
	}
	return nil, fmt.Errorf("%s: %w. Put it back as %s (mode 0600), or hand it over as the systemd credential %s", what, events.ErrSealed, filepath.Join(k.dataDir, keyName), keyName)
}

// credential is where systemd puts the key; "" where there are no credentials.
func (k keyring) credential() string {
	if k.credentials == "" {
		return ""
	}
	return filepath.Join(k.credentials, keyName)
}

// choose is the key that the data dir's log is to be opened with, as --encrypt-state says. Where there is no log yet, the key is made, unless it is
// there. A log that is kept in the other way is refused, and nothing is touched.
func (k keyring) choose(encrypt bool) (*events.Key, error) {
	s, err := events.SealingOf(filepath.Join(k.dataDir, "events"))
	sealed := s.Key != events.KeyID{}
	switch {
	case err != nil:
		return nil, err
	case s.New && !encrypt:
		return nil, nil
	case s.New:
		return k.make()
	case sealed && !encrypt:
		return nil, fmt.Errorf("the log in %s is sealed: give --encrypt-state, or, to have it plain, run podman-swarm-agent reseal --plain --data-dir %s", k.dataDir, k.dataDir)
	case !sealed && encrypt:
		return nil, fmt.Errorf("--encrypt-state: the log in %s is plain: to seal it, run podman-swarm-agent reseal --data-dir %s", k.dataDir, k.dataDir)
	case !sealed:
		return nil, nil
	}
	return k.find(s.Key)
}

// make is the key of a new data dir: the one that is there, or else a new one, which is on disk when it is returned.
func (k keyring) make() (*events.Key, error) {
	if key, err := k.there(); !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(k.dataDir, 0o750); err != nil {
		return nil, err
	}
	return writeKey(filepath.Join(k.dataDir, keyName))
}

// readKey reads a key: its 32 bytes, or the 64 hexadecimal digits of them. The error wraps fs.ErrNotExist where there is none.
func readKey(path string, private bool) (*events.Key, error) {
	if path == "" {
		return nil, fs.ErrNotExist
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err != nil || private && info.Mode().Perm()&0o077 != 0 {
		return nil, errors.Join(err, fmt.Errorf("%s can be read by others than its owner: chmod 600 it", path))
	}
	if text := bytes.TrimSpace(b); len(text) == 2*events.KeyBytes {
		if b, err = hex.DecodeString(string(text)); err != nil {
			return nil, fmt.Errorf("%s is no key: want %d bytes, or as many in hexadecimal", path, events.KeyBytes)
		}
	}
	key, err := events.NewKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s is no key: %w, or as many in hexadecimal", path, err)
	}
	return key, nil
}

// writeKey draws a key and writes it, whole or not at all.
func writeKey(path string) (*events.Key, error) {
	secret := events.NewSecret()
	if err := writePrivate(path, hex.EncodeToString(secret)+"\n"); err != nil {
		return nil, err
	}
	return events.NewKey(secret)
}

// writePrivate puts text at path, whole or not at all, for the owner alone to read; on nil it is durable.
func writePrivate(path, text string) error {
	return snapshot.WriteFile(path, path+".tmp", 0o600, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
}

// key is the key that log and state.json are sealed with; nil where they are plain.
func (a *agent) key() (*events.Key, error) {
	key, err := keyring{a.c.DataDir, a.c.credentials}.choose(a.c.EncryptState)
	if err == nil && key != nil && a.c.sealing.forWhom.None() {
		a.log.Warn("log and state.json are sealed, and backups are not: whoever gets at them reads the whole state; --backup-recipient seals them", "folder", cmp.Or(a.c.BackupDir, a.c.DataDir))
	}
	return key, err
}
