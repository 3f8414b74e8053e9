package events

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
)

// Incarnation is one life of one log folder: a random number drawn when the folder is made, or when it turns out
// to be a copy of another's. Names own containers; incarnations count events. Zero is no incarnation.
type Incarnation uint64

// NewIncarnation draws a random incarnation that is not zero.
func NewIncarnation() Incarnation {
	var b [8]byte
	for {
		rand.Read(b[:]) // never fails: crypto/rand ends the program instead
		if i := Incarnation(binary.LittleEndian.Uint64(b[:])); i != 0 {
			return i
		}
	}
}

// MarshalText gives the 16 hexadecimal digits.
func (i Incarnation) MarshalText() ([]byte, error) { return appendHex(nil, uint64(i)), nil }

// UnmarshalText reads 16 hexadecimal digits, and takes nothing else.
func (i *Incarnation) UnmarshalText(b []byte) error {
	v, ok := parseHex(b)
	if !ok {
		return fmt.Errorf("incarnation %q: want 16 hexadecimal digits", b)
	}
	*i = Incarnation(v)
	return nil
}

// String is the incarnation as 16 hexadecimal digits.
func (i Incarnation) String() string { return string(appendHex(nil, uint64(i))) }

// ID names one event for ever and everywhere: the incarnation that recorded it, and its number among that
// incarnation's events, from 1. The id of the event that created an object is that object's uid. The zero ID is
// no event.
type ID struct {
	Inc Incarnation
	Seq uint64
}

// IsZero reports whether the id names no event.
func (id ID) IsZero() bool { return id == ID{} }

// whole reports whether the id can be that of an event.
func (id ID) whole() bool { return id.Inc != 0 && id.Seq != 0 }

// Compare orders ids by incarnation, then seq.
func (id ID) Compare(o ID) int {
	return cmp.Or(cmp.Compare(id.Inc, o.Inc), cmp.Compare(id.Seq, o.Seq))
}

// String is the id's text form, "5f3a9c0e11223344-42"; the zero ID is "".
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return string(id.append(nil))
}

func (id ID) append(b []byte) []byte {
	b = appendHex(b, uint64(id.Inc))
	b = append(b, '-')
	return strconv.AppendUint(b, id.Seq, 10)
}

// MarshalText gives the text form.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form, and takes no other.
func (id *ID) UnmarshalText(b []byte) error {
	v, ok := parseID(b)
	if !ok && len(b) != 0 {
		return fmt.Errorf("event id %q: want 16 hexadecimal digits, a dash and a number", b)
	}
	*id = v
	return nil
}

// ParseID reads the text form of an ID; "" is the zero ID.
func ParseID(s string) (ID, error) {
	var id ID
	err := id.UnmarshalText([]byte(s))
	return id, err
}

// Time is a hybrid logical time: 48 bits of Unix milliseconds and 16 bits that count what happened within one.
// Its text form is 16 hexadecimal digits, so texts sort as times do.
type Time uint64

// TimeOf is the hybrid time at which wall clock t begins its millisecond. Times before 1970 are zero.
func TimeOf(t time.Time) Time { return Time(max(0, t.UnixMilli())) << 16 }

// LastTime is the greatest time that a commit may have: the end of the year 2199. It bounds what a clock gone wrong, or a
// peer, can do to the times that follow on it, and is the same for all hosts.
const LastTime = Time(7258118400000<<16 - 1)

// Wall is the wall-clock part, to the millisecond, in UTC.
func (t Time) Wall() time.Time { return time.UnixMilli(int64(t >> 16)).UTC() }

// String is the time as 16 hexadecimal digits.
func (t Time) String() string { return string(appendHex(nil, uint64(t))) }

// Stamp is the one order that all hosts agree on: time first, then the id of the event. No two events have the
// same stamp. The zero Stamp is before all others and means "none".
type Stamp struct {
	Time Time
	ID
}

// IsZero reports whether the stamp is none.
func (s Stamp) IsZero() bool { return s == Stamp{} }

// whole reports whether the stamp is none, or can be that of an event.
func (s Stamp) whole() bool { return s.IsZero() || s.ID.whole() }

// Compare orders stamps by time, then id.
func (s Stamp) Compare(o Stamp) int {
	return cmp.Or(cmp.Compare(s.Time, o.Time), s.ID.Compare(o.ID))
}

// Less reports whether s comes before o.
func (s Stamp) Less(o Stamp) bool { return s.Compare(o) < 0 }

// String is the stamp's text form, "019b…0000-5f3a9c0e11223344-42"; the zero Stamp is "".
func (s Stamp) String() string {
	if s.IsZero() {
		return ""
	}
	return string(s.append(nil))
}

func (s Stamp) append(b []byte) []byte {
	b = appendHex(b, uint64(s.Time))
	b = append(b, '-')
	return s.ID.append(b)
}

// MarshalText gives the text form.
func (s Stamp) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the text form, and takes no other.
func (s *Stamp) UnmarshalText(b []byte) error {
	v, ok := parseStamp(b)
	if !ok && len(b) != 0 {
		return fmt.Errorf("stamp %q: want 16 hexadecimal digits, a dash and an event id", b)
	}
	*s = v
	return nil
}

const hexDigits = "0123456789abcdef"

func appendHex(b []byte, v uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[v>>shift&15])
	}
	return b
}

// parseHex reads exactly 16 lower-case digits: one number has one text, so that equal bytes and equal values are
// the same thing.
func parseHex(b []byte) (uint64, bool) {
	if len(b) != 16 {
		return 0, false
	}
	high, ok1 := parseHex8(binary.BigEndian.Uint64(b))
	low, ok2 := parseHex8(binary.BigEndian.Uint64(b[8:]))
	return high<<32 | low, ok1 && ok2
}

// parseHex8 reads eight digits at once, each in its byte of x. Commits are full of them, and replay reads millions.
func parseHex8(x uint64) (uint64, bool) {
	const each = 0x0101010101010101
	v := x&(0x0f*each) + x>>6&each*9 // letters, and no digits, have the bit 0x40
	letters := (v + 6*each) >> 4 & each
	if v&(0xf0*each) != 0 || v+0x30*each+letters*('a'-'0'-10) != x {
		return 0, false
	}
	v = (v | v>>4) & 0x00ff00ff00ff00ff
	v = (v | v>>8) & 0x0000ffff0000ffff
	return (v | v>>16) & 0xffffffff, true
}

func parseUint(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 || b[0] == '0' {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		d := uint64(c - '0')
		if c < '0' || c > '9' || v > (1<<64-1-d)/10 {
			return 0, false
		}
		v = v*10 + d
	}
	return v, true
}

func parseID(b []byte) (ID, bool) {
	if len(b) < 18 || b[16] != '-' {
		return ID{}, false
	}
	inc, ok1 := parseHex(b[:16])
	seq, ok2 := parseUint(b[17:])
	return ID{Incarnation(inc), seq}, ok1 && ok2 && inc != 0
}

func parseStamp(b []byte) (Stamp, bool) {
	if len(b) < 35 || b[16] != '-' {
		return Stamp{}, false
	}
	t, ok1 := parseHex(b[:16])
	id, ok2 := parseID(b[17:])
	return Stamp{Time(t), id}, ok1 && ok2
}
