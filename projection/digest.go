package projection

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
)

// Digest is a hash of everything that hosts must agree on: what is shown, what lost, what has ended and what is still
// open, by stamps, which name contents. States with equal vectors have equal digests, or something is wrong. It reads
// the whole state.
func (s *State) Digest() string {
	h := sha256.New()
	e := newEncoder(h)
	s.objects.Scan(func(key string, en *entry) bool {
		e.text(key)
		e.agreed(en)
		return true
	})
	_ = e.flush() // a hash takes everything
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// agreed writes of an entry what hosts must agree on.
func (e *encoder) agreed(en *entry) {
	e.uint(uint64(len(en.lives)))
	for i := range en.lives {
		l := &en.lives[i]
		e.shape(l)
		for _, v := range l.leaves() {
			e.stamp(v.Stamp)
		}
		for _, m := range l.missing {
			e.stamp(m)
		}
	}
}

// Differs is the first key, in their order, of which two states do not say the same; false where their digests are equal.
func (s *State) Differs(o *State) (key string, differs bool) {
	says := func(en *entry) string {
		var b bytes.Buffer
		e := newEncoder(&b)
		e.agreed(en)
		_ = e.flush() // a buffer takes everything
		return b.String()
	}
	for _, way := range [][2]*State{{s, o}, {o, s}} {
		way[0].objects.Scan(func(k string, en *entry) bool {
			if differs && k >= key {
				return false
			}
			other, ok := way[1].objects.Get(k)
			if ok && says(en) == says(other) {
				return true
			}
			key, differs = k, true
			return false
		})
	}
	return key, differs
}
