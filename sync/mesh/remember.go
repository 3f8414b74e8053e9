package mesh

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// maxKnown is how many addresses are remembered: more hosts than a full mesh can have.
const maxKnown = 1000

// addresses is where the other hosts were when last heard of, in memory and in a file.
type addresses struct {
	path string // empty: in memory only

	mu     sync.Mutex
	byNode map[string]string
}

// remembered reads the file. One that cannot be read is said so and written anew in time: it saves a person some
// typing, and is no reason to keep a host from starting.
func remembered(path string, log *slog.Logger) *addresses {
	a := &addresses{path: path, byNode: map[string]string{}}
	if path == "" {
		return a
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a
	}
	if err == nil {
		err = json.Unmarshal(data, &a.byNode)
	}
	if err != nil {
		log.Warn("the addresses of peers are forgotten", "file", path, "err", err)
		a.byNode = map[string]string{}
	}
	maps.DeleteFunc(a.byNode, func(_, addr string) bool { return dialable(addr) != nil })
	return a
}

// dial returns what to connect to: the wanted addresses first, each once, and not our own.
func (a *addresses) dial(wanted []string, own string) (addrs []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, addr := range append(slices.Clone(wanted), slices.Sorted(maps.Values(a.byNode))...) {
		if addr != own && !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// Remembered returns the addresses of the other hosts, as far as they have said where they are.
func (m *Mesh) Remembered() []string { return m.known.dial(nil, m.advertise) }

// learn remembers where a host is. When it returns nil, so does the file.
func (a *addresses) learn(node, addr string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byNode[node] == addr {
		return nil
	}
	if len(a.byNode) >= maxKnown && a.byNode[node] == "" {
		return fmt.Errorf("remember that %s is at %s: %d hosts are remembered already", node, addr, maxKnown)
	}
	return a.change(func(m map[string]string) { m[node] = addr })
}

// forget returns where the host was, empty if that was not remembered, and whether another was last heard to be there.
func (a *addresses) forget(node string) (addr string, others bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	addr = a.byNode[node]
	if addr == "" {
		return "", false, nil
	}
	for other, at := range a.byNode {
		others = others || other != node && at == addr
	}
	return addr, others, a.change(func(m map[string]string) { delete(m, node) })
}

// change changes memory only when the file has been.
func (a *addresses) change(by func(map[string]string)) error {
	next := maps.Clone(a.byNode)
	by(next)
	if a.path != "" {
		data, err := json.MarshalIndent(next, "", "  ")
		if err != nil {
			return err
		}
		if err := replace(a.path, append(data, '\n')); err != nil {
			return fmt.Errorf("remember the addresses of peers: %w", err)
		}
	}
	a.byNode = next
	return nil
}

// replace writes a file so that a crash leaves the old one or the new one.
func replace(path string, data []byte) (err error) {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, filepath.Base(path)+".tmp*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(0o640), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
