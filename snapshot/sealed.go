package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
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

// besideEnd ends the name of the file that stands in clear beside a sealed backup.
const besideEnd = ".about"

// beside is what can be known of a sealed backup by who cannot open it: what it is of, and whether its bytes are those that were
// written. It has no hash of what is sealed, not the state's digest either: by one, whoever guesses at a secret could tell when he is right.
type beside struct {
	About  About  `json:"about"`
	Sealed string `json:"sealed"` // SHA-256 of the sealed bytes, in hexadecimal
}

// write writes it as one JSON object, which ends in the checksum of all before.
func (x beside) write(w io.Writer) error {
	sum := sha256.New()
	d := &writer{w: io.MultiWriter(w, sum)}
	d.raw("{")
	d.field("about", x.About)
	d.field("sealed", x.Sealed)
	if d.err == nil {
		_, d.err = w.Write(tail(sum))
	}
	return d.err
}

func parseBeside(b []byte) (x beside, err error) {
	sum := sha256.New()
	body := b[:max(0, len(b)-len(tail(sum)))]
	sum.Write(body)
	if !bytes.Equal(b[len(body):], tail(sum)) {
		return x, errors.New("damaged: its checksum does not fit")
	}
	err = json.Unmarshal(b, &x)
	return x, err
}

// beside reads what stands beside a sealed backup. The error wraps fs.ErrNotExist where nothing does.
func (b *Backups) beside(name string) (beside, error) {
	data, err := os.ReadFile(filepath.Join(b.Dir, name+besideEnd))
	if err != nil {
		return beside{}, err
	}
	x, err := parseBeside(data)
	if err != nil {
		return x, fmt.Errorf("%s: %w", name+besideEnd, err)
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

// createSealed makes a sealed backup of what write writes. Before that is sealed, which is the last time that it can be looked at without
// a key, it is read as a restore would, and must be of the state with that digest.
func (b *Backups) createSealed(name, digest string, write func(io.Writer) error) (int64, error) {
	var plain bytes.Buffer
	if err := write(&plain); err != nil {
		return 0, err
	}
	is, err := ReadBackup(plain.Bytes())
	if err != nil {
		return 0, fmt.Errorf("what was to be sealed cannot be read: %w", err)
	}
	if is.Digest != digest {
		return 0, errors.New("what was to be sealed is of another state")
	}
	return b.putSealed(name, is.About, plain.Bytes())
}

// putSealed seals a backup and puts it into the folder, and returns its size.
func (b *Backups) putSealed(name string, about About, plain []byte) (int64, error) {
	return b.place(name, about, func(w io.Writer) error {
		z, err := b.For.Writer(w)
		if err != nil {
			return err
		}
		if _, err := z.Write(plain); err != nil {
			return err
		}
		return z.Close()
	})
}

// place puts sealed bytes into the folder, and beside them what can be known without a key. That comes first: a crash between the two leaves it
// alone, which is no backup, and goes with the next Prune.
func (b *Backups) place(name string, about About, write func(io.Writer) error) (int64, error) {
	path, tmp := filepath.Join(b.Dir, name), filepath.Join(b.Dir, tmpBackup)
	sum, size := sha256.New(), counter(0)
	err := prepare(path, tmp, 0o640, func(w io.Writer) error { return write(io.MultiWriter(w, sum, &size)) })
	if err != nil {
		return 0, err
	}
	wrote := hex.EncodeToString(sum.Sum(nil))
	data, err := os.ReadFile(tmp)
	if err != nil {
		return 0, err
	}
	if hashOf(data) != wrote {
		return 0, fmt.Errorf("write %s: what was written is not what can be read there", path)
	}
	about.Digest = "" // see beside
	if err := writeFile(path+besideEnd, tmp+besideEnd, 0o640, beside{about, wrote}.write); err != nil {
		return 0, err
	}
	if err := os.Rename(tmp, path); err != nil {
		return 0, err
	}
	return int64(size), syncFolder(b.Dir)
}

// sweep removes what stands beside backups that are not there any more.
func (b *Backups) sweep() error {
	entries, err := os.ReadDir(b.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), besideEnd)
		if !ok {
			continue
		}
		if f, ours := parseBackupName(name); !ours || !f.Sealed {
			continue
		}
		if _, err := os.Lstat(filepath.Join(b.Dir, name)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.Remove(filepath.Join(b.Dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what stood beside a backup that is gone: %w", err)
		}
	}
	return nil
}

// Checked is what Check found out of a backup that is whole.
type Checked struct {
	About About // of one that was not opened without the digest
	// Opened says that all of it was read. If not, it is sealed, no key here opens it, and its bytes are those that were written.
	Opened bool
}

// Check finds out whether a backup in the folder is whole, as far as the keys here go. The error wraps fs.ErrNotExist where it is not there.
func (b *Backups) Check(name string) (Checked, error) {
	f, err := b.Stat(name)
	if err != nil {
		return Checked{}, err
	}
	data, err := os.ReadFile(filepath.Join(b.Dir, name))
	if err != nil {
		return Checked{}, err
	}
	bad := func(err error) (Checked, error) { return Checked{}, fmt.Errorf("%s: %w", name, err) }
	said, missing := beside{}, error(nil)
	if sealed := seal.Sealed(data); f.Sealed || sealed {
		if said, missing = b.beside(name); missing != nil && !errors.Is(missing, fs.ErrNotExist) {
			return Checked{}, missing
		}
		switch {
		case missing == nil && said.Sealed != hashOf(data):
			return bad(errors.New("damaged: its bytes are not those that were written"))
		case !sealed:
			return bad(errors.New("damaged: it does not begin as what is sealed with age"))
		}
	}
	plain, err := opened(data, b.Keys)
	if errors.Is(err, seal.ErrNoKey) && missing == nil {
		return Checked{About: said.About}, nil
	}
	if errors.Is(err, seal.ErrNoKey) {
		return bad(fmt.Errorf("%w; nor is there a %s, which would say whether its bytes are whole", err, name+besideEnd))
	}
	if err != nil {
		return bad(err)
	}
	is, err := ReadBackup(plain)
	if err != nil {
		return bad(err)
	}
	return Checked{About: is.About, Opened: true}, nil
}
