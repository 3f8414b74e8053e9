package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// besideEnd ends the name of the file that stands in clear beside a sealed one.
const besideEnd = ".about"

// beside is what can be known of a sealed backup, or piece, by who cannot open it: what it is of, and whether its bytes are those that were
// written. It has no hash of what is sealed, not the state's digest either: by one, whoever guesses at a secret could tell when he is right.
type beside[T any] struct {
	About  T      `json:"about"`
	Sealed string `json:"sealed"` // SHA-256 of the sealed bytes, in hexadecimal
}

// write writes it as one JSON object, which ends in the checksum of all before.
func (x beside[T]) write(w io.Writer) error {
	sum := sha256.New()
	d := &writer{w: io.MultiWriter(w, sum)}
	d.raw("{")
	d.field("about", x.About)
	d.field("sealed", x.Sealed)
	if d.flush() == nil {
		_, d.err = w.Write(tail(sum))
	}
	return d.err
}

func parseBeside[T any](b []byte) (x beside[T], err error) {
	sum := sha256.New()
	body := b[:max(0, len(b)-len(tail(sum)))]
	sum.Write(body)
	if !bytes.Equal(b[len(body):], tail(sum)) {
		return x, errors.New("damaged: its checksum does not fit")
	}
	err = json.Unmarshal(b, &x)
	return x, err
}

// readBeside reads what stands beside a sealed file. The error wraps fs.ErrNotExist where nothing does.
func readBeside[T any](path string) (x beside[T], err error) {
	data, err := os.ReadFile(path + besideEnd)
	if err != nil {
		return x, err
	}
	if x, err = parseBeside[T](data); err != nil {
		return x, fmt.Errorf("%s: %w", filepath.Base(path)+besideEnd, err)
	}
	return x, nil
}

// opened is data, opened if it is sealed.
func opened(data []byte, keys seal.Keys) ([]byte, error) {
	if !seal.Sealed(data) {
		return data, nil
	}
	return keys.Open(data)
}

// unseal reads a file, and opens it where it is sealed, as named says that it is. Where no key opens it and its bytes are those that were written,
// the bytes are nil, and unread is what stands beside it. Of what is damaged is said so, as far as the keys go.
func unseal[T any](path string, named bool, keys seal.Keys) (plain []byte, unread *T, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	bad := func(err error) ([]byte, *T, error) { return nil, nil, fmt.Errorf("%s: %w", filepath.Base(path), err) }
	sealed := seal.Sealed(data)
	if !named && !sealed {
		return data, nil, nil
	}
	said, missing := readBeside[T](path)
	switch {
	case missing != nil && !errors.Is(missing, fs.ErrNotExist):
		return nil, nil, missing
	case missing == nil && said.Sealed != hashOf(data):
		return bad(errors.New("damaged: its bytes are not those that were written"))
	case !sealed:
		return bad(errors.New("damaged: it does not begin as what is sealed with age"))
	}
	switch plain, err = keys.Open(data); {
	case errors.Is(err, seal.ErrNoKey) && missing == nil:
		return nil, &said.About, nil
	case errors.Is(err, seal.ErrNoKey):
		return bad(fmt.Errorf("%w; nor is there a %s, which would say whether its bytes are whole", err, filepath.Base(path)+besideEnd))
	case err != nil:
		return bad(err)
	}
	return plain, nil, nil
}

// place puts sealed bytes at path, and beside them what can be known without a key. That comes first: a crash between the two leaves it
// alone, which is nothing, and is swept. On nil both are durable, and the bytes are what was read back from the disk.
func place[T any](path, tmp string, about T, sealed []byte) error {
	if err := prepare(path, tmp, 0o640, func(w io.Writer) error { _, err := w.Write(sealed); return err }); err != nil {
		return err
	}
	if err := forget(tmp); err != nil {
		return err
	}
	data, err := os.ReadFile(tmp)
	if err != nil {
		return err
	}
	if !bytes.Equal(data, sealed) {
		return fmt.Errorf("write %s: what was written is not what can be read there", path)
	}
	if err := WriteFile(path+besideEnd, tmp+besideEnd, 0o640, beside[T]{about, hashOf(sealed)}.write); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// sweep removes what stands beside files that are not there any more, of those that are ours by their name.
func sweep(dir string, ours func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), besideEnd)
		if !ok || !ours(name) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what stood beside what is gone: %w", err)
		}
	}
	return nil
}
