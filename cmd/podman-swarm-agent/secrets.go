package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/podman-swarm/podman-swarm/projection/secret"
	"github.com/podman-swarm/podman-swarm/sync/authority"
)

// secretsName is the name of the file with the keys of Secrets, in the data dir: one a line, in hexadecimal; the first seals.
const secretsName = "secrets.key"

// secretKeys is where the keys of a data dir's Secrets are kept.
type secretKeys struct{ dataDir string }

func (k secretKeys) path() string { return filepath.Join(k.dataDir, secretsName) }

// read gives the keys; none where there is no file.
func (k secretKeys) read() ([][]byte, error) {
	info, err := os.Stat(k.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s can be read by others than its owner: see who may have read it, then chmod 600 it", k.path())
	}
	b, err := os.ReadFile(k.path())
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		one, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil || len(one) != secret.KeyBytes { // an error of hex would quote of the key
			return nil, fmt.Errorf("%s, line %d: it is no key: want %d bytes in hexadecimal; put back the file as it was, or that of another host of the cluster",
				k.path(), i+1, secret.KeyBytes)
		}
		all = append(all, one)
	}
	return all, nil
}

// write puts the keys there, whole or not at all; on nil they are durable.
func (k secretKeys) write(all [][]byte) error {
	var b strings.Builder
	for _, one := range all {
		b.WriteString(hex.EncodeToString(one) + "\n")
	}
	return writePrivate(k.path(), b.String())
}

// draw makes the first key of a host that is alone, durable when it is returned.
func (k secretKeys) draw() ([]byte, error) {
	all, err := k.read()
	if err != nil {
		return nil, err
	}
	if len(all) > 0 { // whoever put it there since the start
		return all[0], nil
	}
	one := secret.NewSecret()
	return one, k.write([][]byte{one})
}

// adopt puts the keys of a cluster before those that this host has had for itself, by which what it has sealed can still be opened here.
func (k secretKeys) adopt(cluster [][]byte) error {
	own, err := k.read()
	if err != nil {
		return err
	}
	all := slices.Clone(cluster)
	if len(all) == 0 {
		return errors.New("the cluster has none")
	}
	for _, one := range own {
		if !slices.ContainsFunc(all, func(o []byte) bool { return bytes.Equal(o, one) }) {
			all = append(all, one)
		}
	}
	return k.write(all)
}

// deriver is whoever holds a cluster's authority.
type deriver interface {
	Derive(purpose string, n int) ([]byte, error)
}

// derived is the key that every member has of the cluster's authority, without anybody having made one.
func derived(d deriver) ([]byte, error) { return d.Derive("secrets key 1", secret.KeyBytes) }

// cluster are the keys that a host is given which joins: those of the file, or else the one that is derived.
func (k secretKeys) cluster(d deriver) ([][]byte, error) {
	all, err := k.read()
	if err != nil || len(all) > 0 {
		return all, err
	}
	one, err := derived(d)
	return [][]byte{one}, err
}

// joined keeps the keys that a cluster gives a host; a member of an earlier version gives none, and then has none but the one that is derived.
func (k secretKeys) joined(j *authority.Joined) error {
	all := j.Secrets
	if len(all) == 0 {
		one, err := derived(j)
		if err != nil {
			return err
		}
		all = [][]byte{one}
	}
	return k.adopt(all)
}

// open are the keys that this host seals and opens Secrets by: the file's, then the one that is derived. A host that is alone draws one
// when it needs it.
func (k secretKeys) open(m *authority.Member) (*secret.Keys, error) {
	all, err := k.read()
	if err != nil {
		return nil, err
	}
	if m != nil {
		one, err := derived(m)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	keys, err := secret.NewKeys(all...)
	if err != nil {
		return nil, err
	}
	if m == nil {
		keys.Make = k.draw
	}
	return keys, nil
}
