package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/podman-swarm/podman-swarm/projection"
)

// BackupVersion is the version of the form of a backup.
const BackupVersion = 1

// About is what a backup says of itself, in its first field: by that field a file is known for a backup.
type About struct {
	Version int       `json:"version"` // of the form
	Cluster string    `json:"cluster"`
	Node    string    `json:"node"`  // the host that made it
	Agent   string    `json:"agent"` // its version
	Made    time.Time `json:"made"`
	Why     string    `json:"why"` // what it was made for
	Index   uint64    `json:"index"`
	Digest  string    `json:"digest,omitempty"` // of the state; not of a sealed one that was not opened
	// Log names the folder of the increments that go on from Index; "": there are none.
	Log string `json:"log,omitempty"`
}

// Backup is a backup that has been read and found whole.
type Backup struct {
	About
	State *projection.State
}

// WriteBackup writes a backup of the state: what state.json has, for people and for jq, and the state as it was folded, so that nothing else
// is needed to have it back. a.Version, a.Index and a.Digest follow from the state.
func WriteBackup(w io.Writer, a About, s *projection.State) error {
	a.Version, a.Index, a.Digest = BackupVersion, s.Index(), s.Digest()
	sum := sha256.New()
	d := &writer{w: io.MultiWriter(w, sum)}
	d.raw("{")
	d.field("backup", a)
	d.document(a.Node, s)
	d.name("fold")
	d.raw(`"`)
	if d.flush() == nil {
		d.err = writeFold(d.w, s)
	}
	d.raw(`"`)
	if d.flush() == nil {
		_, d.err = w.Write(tail(sum))
	}
	return d.err
}

// tail ends a backup: the checksum of all before, in a form that has no second spelling.
func tail(sum hash.Hash) []byte {
	return fmt.Appendf(nil, ",\n  \"checksum\": \"sha256:%s\"\n}\n", hex.EncodeToString(sum.Sum(nil)))
}

func writeFold(w io.Writer, s *projection.State) error {
	text := base64.NewEncoder(base64.StdEncoding, w)
	z, err := zstd.NewWriter(text, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if err := s.Encode(z); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return text.Close()
}

// ErrNoBackup says that something is no backup at all, while a backup that is damaged is another error.
var ErrNoBackup = errors.New("not a backup: it does not begin as one")

// beginning is how a backup begins.
const beginning = "{\n  \"backup\": {"

// maxFold bounds the state in a backup, so that a small file cannot fill the memory.
const maxFold = 1 << 30

// Bounds of what is unpacked from a backup that somebody sent. Of 10,000 objects of one spec it is 180 times as much as was sent, and of those
// of 60 kB 300 times; their fold is 720 times what it is packed.
const (
	sentTimes = 1000
	sentLeast = 64 << 20 // however little was sent
)

// most is what as many bytes may be unpacked to.
type most func(packed int) uint64

// anything is for a backup of ours: none is refused.
func anything(int) uint64 { return 4 * maxFold }

// sent is for one of whoever may read.
func sent(packed int) uint64 { return min(4*maxFold, max(sentLeast, sentTimes*uint64(packed))) }

// isZstd reports whether data is compressed, by what RFC 8878 has it begin with.
func isZstd(data []byte) bool { return bytes.HasPrefix(data, []byte{0x28, 0xb5, 0x2f, 0xfd}) }

// sealHead begins the end of a compressed backup: a skippable frame (RFC 8878, 3.1.2), which zstd -d passes over, with the SHA-256 of all bytes
// before it. Without it a bit of the frame's header could be flipped that changes nothing of what it says.
const sealHead = "\x50\x2a\x4d\x18\x20\x00\x00\x00"

// compress has write write to w compressed.
func compress(w io.Writer, write func(io.Writer) error) error {
	sum := sha256.New()
	z, err := zstd.NewWriter(io.MultiWriter(w, sum), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if err := write(z); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	_, err = w.Write(sum.Sum([]byte(sealHead)))
	return err
}

// plain is what was compressed, or was not.
func plain(data []byte) ([]byte, error) { return most(anything).unpack(data) }

func (m most) unpack(data []byte) ([]byte, error) {
	if !isZstd(data) {
		return data, nil
	}
	// There are 16 beginnings of a skippable frame, 0x50 to 0x5f: a bit that is flipped in ours makes it another, not none.
	if i := len(data) - len(sealHead) - sha256.Size; i > 0 && data[i]>>4 == sealHead[0]>>4 && string(data[i+1:i+len(sealHead)]) == sealHead[1:] {
		if sum := sha256.Sum256(data[:i]); data[i] != sealHead[0] || !bytes.Equal(sum[:], data[i+len(sealHead):]) {
			return nil, errors.New("damaged: its checksum does not fit")
		}
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(m(len(data))))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	if data, err = z.DecodeAll(data, nil); err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	return data, nil
}

// ReadBackup reads a backup, compressed or not, and believes nothing of it: its checksum must fit, the state in it must be one that can be
// read, and have the digest, the index and the vector that the rest of it says.
func ReadBackup(b []byte) (*Backup, error) { return most(anything).read(b) }

// ReadSent is ReadBackup for what anybody may have sent who may not have this host's memory filled: what is much more than it is packed, is refused.
func ReadSent(b []byte) (*Backup, error) { return most(sent).read(b) }

func (m most) read(b []byte) (*Backup, error) {
	b, err := m.unpack(b)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(b, []byte(beginning)) {
		return nil, ErrNoBackup
	}
	sum := sha256.New()
	body := b[:max(0, len(b)-len(tail(sum)))]
	sum.Write(body)
	if !bytes.Equal(b[len(body):], tail(sum)) {
		return nil, errors.New("damaged: its checksum does not fit, or its end is missing")
	}
	var doc struct {
		Backup About           `json:"backup"`
		Index  uint64          `json:"index"`
		Vector map[string]head `json:"vector"`
		Digest string          `json:"digest"`
		Fold   []byte          `json:"fold"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("it is whole, but cannot be read: %w", err)
	}
	if doc.Backup.Version != BackupVersion {
		return nil, fmt.Errorf("its form is version %d, and this agent reads version %d: it was made by agent %q", doc.Backup.Version, BackupVersion, doc.Backup.Agent)
	}
	fold := min(maxFold, m(len(doc.Fold)))
	z, err := zstd.NewReader(bytes.NewReader(doc.Fold), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(fold))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	s, err := projection.DecodeState(io.LimitReader(z, int64(fold)))
	if err != nil {
		return nil, fmt.Errorf("it is whole, but its state cannot be read: %w", err)
	}
	if digest := s.Digest(); digest != doc.Digest || digest != doc.Backup.Digest || s.Index() != doc.Index || s.Index() != doc.Backup.Index || !sameVector(s, doc.Vector) {
		return nil, errors.New("the state in it is not the one that it says to have: an agent made it wrongly")
	}
	return &Backup{doc.Backup, s}, nil
}

func sameVector(s *projection.State, vector map[string]head) bool {
	if len(s.Vector()) != len(vector) {
		return false
	}
	for _, h := range s.Vector() {
		if vector[h.Inc.String()] != (head{h.Seq, h.Hash}) {
			return false
		}
	}
	return true
}
