package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/podman-swarm/podman-swarm/events"
)

// Reseal is what is kept beside a log, and state.json, in another form: beside a log that has been copied.
type Reseal struct {
	Dir, To        string // the folders of the log, and of its copy
	View, NextView string // state.json, and where it is to be written in its new form
	From, Key      *events.Key
}

// Write writes into To what stands in Dir beside the log, and state.json, if an agent wrote that, at NextView. On nil all of it is on disk. What cannot be
// opened is left out: the log has it.
func (r Reseal) Write() error {
	sums, err := r.view()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(r.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		_, there := os.Lstat(filepath.Join(r.To, name)) // what the log has written
		fold, torn := strings.HasSuffix(name, ".snap"), strings.Contains(name, ".torn-")
		switch {
		case there == nil || !e.Type().IsRegular() || strings.HasSuffix(name, ".tmp") || name == "LOCK" || name == "RESERVE":
			continue
		case name == "state.sum":
			err = r.put(name, []byte(sums))
		default:
			err = r.again(name, fold || torn)
		}
		if err != nil {
			return err
		}
	}
	return SyncFolder(r.To)
}

// again writes a file in its new form, if it is of those that have one, and else as it is.
func (r Reseal) again(name string, formed bool) error {
	data, err := os.ReadFile(filepath.Join(r.Dir, name))
	if err != nil || !formed {
		return errors.Join(err, r.put(name, data))
	}
	if r.From != nil && events.SealedFile(data) {
		if data, err = r.From.OpenFile(name, data); err != nil {
			return nil
		}
	}
	if r.Key != nil {
		data = r.Key.SealFile(name, data)
	}
	return r.put(name, data)
}

func (r Reseal) put(name string, data []byte) error {
	path := filepath.Join(r.To, name)
	return prepare(path, path, 0o640, func(w io.Writer) error { _, err := w.Write(data); return err })
}

// view writes state.json in its new form, and gives the sums of which the one of state.json is one before it has its name and after.
func (r Reseal) view() (sums string, err error) {
	b, err := os.ReadFile(filepath.Join(r.Dir, "state.sum"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	sums = string(b)
	data, mine, err := readView(r.View, sums)
	if err != nil || !mine {
		return sums, err
	}
	if r.From != nil {
		if data, err = r.From.OpenFile(filepath.Base(r.View), data); err != nil {
			return sums, nil
		}
	}
	if r.Key != nil {
		data = r.Key.SealFile(filepath.Base(r.View), data)
	}
	err = prepare(r.NextView, r.NextView, 0o640, func(w io.Writer) error { _, err := w.Write(data); return err })
	return sums + hashOf(data) + "\n", err
}

// readView reads state.json, and reports whether an agent wrote it, by the sums.
func readView(path, sums string) (data []byte, mine bool, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if data, err = os.ReadFile(path); err != nil {
		return nil, false, err
	}
	sum := sha256.Sum256(data)
	return data, slices.Contains(strings.Fields(sums), hex.EncodeToString(sum[:])), nil
}

// DropView removes state.json if an agent wrote it in another form than the key says: the next start writes it anew.
func DropView(path, sums string, key *events.Key) error {
	b, err := os.ReadFile(sums)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data, mine, err := readView(path, string(b))
	if err != nil || !mine {
		return err
	}
	if _, err := key.OpenFile(filepath.Base(path), data); err == nil {
		return nil
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove state.json in its old form: %w", err)
	}
	return SyncFolder(filepath.Dir(path))
}
