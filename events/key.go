package events

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

var (
	// ErrSealed says that something is sealed, and that no key was given to open it.
	ErrSealed = errors.New("it is sealed, and there is no key")
	// ErrWrongKey says that the key is not the one that something was sealed with.
	ErrWrongKey = errors.New("it is sealed with another key")

	errPlain = errors.New("the log is not sealed, and a key was given")
)

// KeyBytes is how long the secret of a Key is.
const KeyBytes = 32

// KeyID tells one Key from another, and nothing else about it.
type KeyID [16]byte

// String is the id in hexadecimal.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// Key seals what a host keeps on its disk, with AES-256-GCM: each piece by itself, under a nonce drawn at random, bound to what it is and where
// it belongs. It is safe for concurrent use. A nil Key seals nothing.
type Key struct {
	aead cipher.AEAD // which draws the nonces, and puts each before what it seals
	id   KeyID
}

// NewKey is the key with that secret, of KeyBytes.
func NewKey(secret []byte) (*Key, error) {
	if len(secret) != KeyBytes {
		return nil, fmt.Errorf("a key of %d bytes: want %d", len(secret), KeyBytes)
	}
	use, err := hkdf.Key(sha256.New, secret, nil, "podman-swarm 1 seals log and state", 32)
	if err != nil {
		return nil, err
	}
	id, err := hkdf.Key(sha256.New, secret, nil, "podman-swarm 1 names the key", len(KeyID{}))
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(use)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Key{aead, KeyID(id)}, nil
}

// NewSecret draws the secret of a key.
func NewSecret() []byte {
	b := make([]byte, KeyBytes)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return b
}

// ID names the key; the zero value is that of none.
func (k *Key) ID() KeyID {
	if k == nil {
		return KeyID{}
	}
	return k.id
}

// fileHead begins a file that a Key has sealed, for people too.
const fileHead = "podman-swarm sealed 1: encryption.key opens it, psctl state and podman-swarm-agent log dump show what the host knows\n"

// SealFile seals a whole file. What it is of is bound to it: opened as of another, it is refused.
func (k *Key) SealFile(of string, plain []byte) []byte {
	b := make([]byte, 0, len(fileHead)+len(k.id)+len(plain)+k.aead.Overhead())
	b = append(append(b, fileHead...), k.id[:]...)
	return k.aead.Seal(b, nil, plain, []byte(fileHead+of))
}

// SealedFile reports whether a file begins as what SealFile makes.
func SealedFile(data []byte) bool { return bytes.HasPrefix(data, []byte(fileHead)) }

// OpenFile opens what SealFile made; what is not sealed at all it returns as it is only if there is no key. The error is ErrSealed or ErrWrongKey where
// the key is missing or another, and a third one where there is one and the file is not sealed.
func (k *Key) OpenFile(of string, data []byte) ([]byte, error) {
	switch {
	case k == nil && !SealedFile(data):
		return data, nil
	case k == nil:
		return nil, ErrSealed
	case !SealedFile(data):
		return nil, errPlain
	}
	sealed := data[len(fileHead):]
	if len(sealed) < len(k.id) || !bytes.Equal(sealed[:len(k.id)], k.id[:]) {
		return nil, ErrWrongKey
	}
	plain, err := k.aead.Open(nil, nil, sealed[len(k.id):], []byte(fileHead+of))
	if err != nil {
		return nil, errors.New("damaged, or of another file: it does not open")
	}
	return plain, nil
}
