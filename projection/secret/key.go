package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// KeyBytes is the length of a key's secret.
const KeyBytes = 32

// ErrNoKey says that a value is sealed by a key that this host does not have.
var ErrNoKey = errors.New("this host does not have the key")

// ID names a key, and tells nothing of it. Every sealed value begins with that of its key.
type ID [8]byte

// String is the id in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// key is what is made of a key's secret.
type key struct {
	id   ID
	mac  []byte // of what the nonces are made
	aead cipher.AEAD
}

const (
	nonceBytes = 12
	overhead   = len(ID{}) + nonceBytes + 16 // bytes by which what is sealed is longer
)

func newKey(secret []byte) (*key, error) {
	if len(secret) != KeyBytes {
		return nil, fmt.Errorf("a key of Secrets has %d bytes, not %d", KeyBytes, len(secret))
	}
	part := func(what string, n int) []byte {
		b, err := hkdf.Expand(sha256.New, secret, "podman-swarm secrets 1 "+what, n)
		if err != nil { // only where more is asked for than there can be
			panic(err)
		}
		return b
	}
	block, err := aes.NewCipher(part("encryption", 32))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &key{ID(part("id", len(ID{}))), part("nonce", 32), aead}, nil
}

// Keys are the keys of one host: one to seal by, and all that it can open what was sealed by. Its methods may be called from any
// goroutine.
type Keys struct {
	// Make draws a key where there is none, and returns its secret once that is durable; nil: then nothing can be sealed.
	Make func() ([]byte, error)

	mu  sync.Mutex
	all []*key // the first seals
}

// NewKeys are the keys with those secrets, of KeyBytes bytes each. The first seals.
func NewKeys(secrets ...[]byte) (*Keys, error) {
	k := &Keys{}
	for _, s := range secrets {
		one, err := newKey(s)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(k.all, func(o *key) bool { return o.id == one.id }) {
			k.all = append(k.all, one)
		}
	}
	return k, nil
}

// first is the key that seals.
func (k *Keys) first() (*key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.all) > 0 {
		return k.all[0], nil
	}
	if k.Make == nil {
		return nil, errors.New("this host has no key to seal a Secret by")
	}
	secret, err := k.Make()
	if err != nil {
		return nil, fmt.Errorf("make a key to seal Secrets by: %w", err)
	}
	made, err := newKey(secret)
	if err != nil {
		return nil, err
	}
	k.all = []*key{made}
	return made, nil
}

// find is the key with that id; nil when it is not here.
func (k *Keys) find(id ID) *key {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := slices.IndexFunc(k.all, func(o *key) bool { return o.id == id }); i >= 0 {
		return k.all[i]
	}
	return nil
}

// Has reports whether the key is here.
func (k *Keys) Has(id ID) bool { return k.find(id) != nil }

// place is where a value stands, as it is bound to that: length and text of each part.
func place(namespace, name, field string) []byte {
	var b []byte
	for _, part := range []string{namespace, name, field} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// nonce is a pseudo-random function of place and value, so two values have the same one only by the chance of 96 bits, and
// the same value in the same place always has.
func (k *key) nonce(place, value []byte) []byte {
	h := hmac.New(sha256.New, k.mac)
	h.Write(place)
	h.Write(value)
	return h.Sum(nil)[:nonceBytes]
}

// seal gives id, nonce, and what the AEAD makes of the value.
func (k *key) seal(place, value []byte) []byte {
	nonce := k.nonce(place, value)
	b := append(slices.Clone(k.id[:]), nonce...)
	return k.aead.Seal(b, nonce, value, place)
}

// idOf is the id of the key of something sealed.
func idOf(sealed []byte) (ID, error) {
	if len(sealed) < overhead {
		return ID{}, errors.New("it is shorter than anything that was sealed")
	}
	return ID(sealed[:len(ID{})]), nil
}

// open is the value of something that was sealed for that place.
func (k *Keys) open(place, sealed []byte) ([]byte, error) {
	id, err := idOf(sealed)
	if err != nil {
		return nil, err
	}
	one := k.find(id)
	if one == nil {
		return nil, fmt.Errorf("it is sealed by key %v: %w", id, ErrNoKey)
	}
	rest := sealed[len(id):]
	value, err := one.aead.Open([]byte{}, rest[:nonceBytes], rest[nonceBytes:], place)
	if err != nil {
		return nil, errors.New("it was not sealed for where it stands, or has been changed since")
	}
	if !hmac.Equal(one.nonce(place, value), rest[:nonceBytes]) {
		return nil, errors.New("it was not sealed by an agent")
	}
	return value, nil
}

// NewSecret draws the secret of a new key.
func NewSecret() []byte {
	b := make([]byte, KeyBytes)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return b
}
