package projection

import (
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
		return true
	})
	_ = e.flush() // a hash takes everything
	return hex.EncodeToString(h.Sum(nil)[:16])
}
