package events

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// A sealed frame has the header of a plain one, with its own magic and, where the hash would stand, zeros: by the hash of a commit, whoever
// guesses at a secret in it could tell when he is right. Its payload is, sealed, the hash and the commit. The header up to the CRC is bound to it, so
// that no record is opened as another's, or in another place. The CRC is over what is on disk: whether a record is whole is seen without the key.
const (
	sealedMagic = "\xe5PS\x02"
	sealedExtra = sha256.Size + 12 + 16 // hash, nonce, tag
)

// errForged says that a record is whole on disk, and is not what the key's owner has put there.
var errForged = errors.New("it does not open with the key that this log is sealed with")

// appendSealed is append, sealed.
func (f *frame) appendSealed(b []byte, key *Key) []byte {
	from := len(b)
	b = f.header(b, sealedMagic, len(f.payload)+sealedExtra, Hash{})
	head := b[from : from+crcAt]
	b = append(b, 0, 0, 0, 0) // the CRC
	plain := append(append(make([]byte, 0, sha256.Size+len(f.payload)), f.hash[:]...), f.payload...)
	b = key.aead.Seal(b, nil, plain, head)
	head = b[from : from+crcAt] // it may have moved
	f.crc = crc32.Update(crc32.Checksum(head, castagnoli()), castagnoli(), b[from+headerSize:])
	binary.LittleEndian.PutUint32(b[from+crcAt:], f.crc)
	return b
}

// open opens a sealed frame that has been parsed from b, in place. A frame that is not sealed it takes only where there is no key.
func (f *frame) open(key *Key, b []byte) error {
	switch {
	case !f.sealed && key == nil:
		return nil
	case !f.sealed:
		return fmt.Errorf("it is not sealed, in a log that is: %w", errForged)
	case key == nil:
		return ErrSealed
	}
	plain, err := key.aead.Open(f.payload[:0], nil, f.payload, b[:crcAt])
	if err != nil || len(plain) <= sha256.Size {
		return errForged
	}
	f.hash, f.payload = Hash(plain), plain[sha256.Size:len(plain):len(plain)]
	return nil
}

// fits reports whether a log is sealed with the key, or, where there is none, not at all.
func (m *manifest) fits(key *Key) error {
	switch {
	case m.sealed && key == nil:
		return fmt.Errorf("the log: %w", ErrSealed)
	case !m.sealed && key != nil:
		return errPlain
	case m.sealed && m.key != key.id:
		return fmt.Errorf("the log: %w: it wants %v, and was given %v", ErrWrongKey, m.key, key.id)
	}
	return nil
}

// Sealing is how the log in a folder is kept.
type Sealing struct {
	New bool  // there is none yet
	Key KeyID // what it is sealed with; zero: it is plain
}

// SealingOf says how the log in dir is kept, as its MANIFEST says. It takes no lock and changes nothing.
func SealingOf(dir string) (Sealing, error) {
	there, err := exists(filepath.Join(dir, manifestName))
	if err != nil {
		return Sealing{}, err
	}
	if !there { // Open says what is wrong, if there are segments
		return Sealing{New: true}, nil
	}
	m, _, _, err := readManifest(dir)
	if err != nil {
		return Sealing{}, fmt.Errorf("log %s: %w", dir, err)
	}
	return Sealing{Key: m.key}, nil
}

// keyOf is key where the log is sealed, as its first frame has it, and none where it is not: for who has lost MANIFEST.
func keyOf(dir string, s span, key *Key) *Key {
	b := make([]byte, 10+len(sealedMagic))
	f, err := os.Open(filepath.Join(dir, segmentName(s.first)))
	if err != nil {
		return key
	}
	defer f.Close()
	n, _ := f.ReadAt(b, 0)
	prefix, _, err := recordLen(b[:n])
	if err == nil && prefix+len(magic) <= n && string(b[prefix:prefix+len(magic)]) == magic {
		return nil
	}
	return key
}
