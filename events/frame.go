package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// A record on disk is a frame after its length as a uvarint: the header below, then the commit's bytes.
//
//	 0  4  magic: E5 'P' 'S' and the format version. Not zero, so that a zero-filled tail is never a record, and
//	       not a text that JSON can hold, so that a search for it finds frames and nothing else
//	 4  4  length of the payload
//	 8  8  number of the record in this log, from 1
//	16  8  index of its first event in this log, from 1
//	24  4  events in it
//	28  4  position among the records that shared its fsync, from 0
//	32  8  when this host wrote it, Unix microseconds, never less than the record before
//	40  8  incarnation of the commit
//	48  8  number of its first event among the incarnation's
//	56  4  CRC of the record before; that of the log's id in the first one
//	60 32  SHA-256 of the payload
//	92  4  CRC-32C of bytes 0 to 91 and the payload
//
// Numbers are little-endian. DESIGN.md says what each is for. For a sealed one see sealed.go.
const (
	magic      = "\xe5PS\x01"
	headerSize = 96
	crcAt      = headerSize - 4
	maxPayload = 1 << 30
)

type frame struct {
	number  uint64
	index   uint64
	count   uint32
	pos     uint32
	at      int64
	inc     Incarnation
	seq     uint64
	prev    uint32
	hash    Hash
	crc     uint32
	payload []byte
	sealed  bool // and not opened yet; see sealed.go
}

var (
	errMagic  = errors.New("no frame here")
	errLength = errors.New("length is not that of a record")
	errCRC    = errors.New("checksum does not match")
)

// castagnoli is made by a call, not kept in a variable of ours: crc32.MakeTable hands out one shared table.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// append appends the frame to b and sets its crc.
func (f *frame) append(b []byte) []byte {
	from := len(b)
	b = f.header(b, magic, len(f.payload), f.hash)
	f.crc = crc32.Update(crc32.Checksum(b[from:], castagnoli()), castagnoli(), f.payload)
	b = binary.LittleEndian.AppendUint32(b, f.crc)
	return append(b, f.payload...)
}

// header appends what stands before the CRC.
func (f *frame) header(b []byte, magic string, payload int, hash Hash) []byte {
	le := binary.LittleEndian
	b = append(b, magic...)
	b = le.AppendUint32(b, uint32(payload))
	b = le.AppendUint64(b, f.number)
	b = le.AppendUint64(b, f.index)
	b = le.AppendUint32(b, f.count)
	b = le.AppendUint32(b, f.pos)
	b = le.AppendUint64(b, uint64(f.at))
	b = le.AppendUint64(b, uint64(f.inc))
	b = le.AppendUint64(b, f.seq)
	b = le.AppendUint32(b, f.prev)
	return append(b, hash[:]...)
}

// parseFrame reads the frame that b begins with and returns its length. The payload is a part of b. It checks what
// can be seen from the frame alone: that these bytes were written together by append.
func parseFrame(b []byte, f *frame) (int, error) {
	if len(b) < headerSize || string(b[:4]) != magic && string(b[:4]) != sealedMagic {
		return 0, errMagic
	}
	le, sealed, most := binary.LittleEndian, b[3] == sealedMagic[3], int64(maxPayload)
	if sealed {
		most += sealedExtra
	}
	n := int64(le.Uint32(b[4:]))
	if n == 0 || n > most || n > int64(len(b)-headerSize) {
		return 0, errLength
	}
	size := headerSize + int(n)
	crc := le.Uint32(b[crcAt:])
	if crc32.Update(crc32.Checksum(b[:crcAt], castagnoli()), castagnoli(), b[headerSize:size]) != crc {
		return 0, errCRC
	}
	*f = frame{
		number:  le.Uint64(b[8:]),
		index:   le.Uint64(b[16:]),
		count:   le.Uint32(b[24:]),
		pos:     le.Uint32(b[28:]),
		at:      int64(le.Uint64(b[32:])),
		inc:     Incarnation(le.Uint64(b[40:])),
		seq:     le.Uint64(b[48:]),
		prev:    le.Uint32(b[56:]),
		hash:    Hash(b[60:]),
		crc:     crc,
		payload: b[headerSize:size:size],
		sealed:  sealed,
	}
	return size, nil
}

func (f *frame) record() Record {
	return Record{
		Number: f.number, Index: f.index, Count: f.count, At: timeOf(f.at),
		Inc: f.inc, Seq: f.seq, Hash: f.hash, Payload: f.payload,
	}
}

func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// recordLen reads the length before a frame, and returns how long it is itself and the frame.
func recordLen(b []byte) (prefix, size int, err error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 || v <= headerSize || v > headerSize+maxPayload+sealedExtra {
		return 0, 0, errLength
	}
	return n, int(v), nil
}

// place is where a log stands between two records: what the next one must say of itself.
type place struct {
	number uint64 // of the next record
	index  uint64 // of its first event
	crc    uint32 // of the record before
	at     int64  // when that was written
	pos    uint32 // the next one's position, unless it begins a new batch
}

// follow checks that f is the next record and moves past it.
func (p *place) follow(f *frame) error {
	switch {
	case f.number != p.number:
		return fmt.Errorf("it says that it is record %d, want %d", f.number, p.number)
	case f.index != p.index || f.count == 0 || f.index+uint64(f.count) < f.index:
		return fmt.Errorf("it says that it holds %d events from %d on, want them from %d on", f.count, f.index, p.index)
	case f.prev != p.crc:
		return errors.New("it does not follow on the record before it")
	case f.pos != 0 && f.pos != p.pos:
		return fmt.Errorf("it says that it is number %d of its batch, want 0 or %d", f.pos, p.pos)
	case f.at < p.at:
		return errors.New("it was written before the record before it")
	case (f.inc == 0) != (f.seq == 0) || f.inc == 0 && f.count != 1: // both are zero in a jump
		return errors.New("it has no incarnation or seq")
	}
	*p = place{f.number + 1, f.index + uint64(f.count), f.crc, f.at, f.pos + 1}
	return nil
}

// mark is a place, and where in the files it is.
type mark struct {
	place
	seg uint64 // number of the segment's first record, which is the file's name
	off int64  // in the segment
}

func (m *mark) position() Position {
	if m.number == 1 {
		return Position{}
	}
	return Position{Record: m.number - 1, Index: m.index - 1, At: timeOf(m.at)}
}
