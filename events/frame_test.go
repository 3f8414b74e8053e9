package events

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"testing"
)

// resum makes the checksum of a MANIFEST slot right again.
func resum(slot []byte) {
	binary.LittleEndian.PutUint32(slot[slotSize-4:], crc32.Checksum(slot[:slotSize-4], crc32.MakeTable(crc32.Castagnoli)))
}

// TestFrame_layout holds the frame to the bytes that DESIGN.md gives.
func TestFrame_layout(t *testing.T) {
	f := frame{number: 1, index: 2, count: 3, pos: 4, at: 5, inc: 6, seq: 7, prev: 8, hash: HashOf([]byte("{}")), payload: []byte("{}")}
	b := f.append(nil)
	want := "e5505301" + "02000000" + "0100000000000000" + "0200000000000000" + "03000000" + "04000000" +
		"0500000000000000" + "0600000000000000" + "0700000000000000" + "08000000" +
		"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	if got := hex.EncodeToString(b[:crcAt]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	sum := crc32.Checksum(append(bytes.Clone(b[:crcAt]), "{}"...), crc32.MakeTable(crc32.Castagnoli))
	if got := binary.LittleEndian.Uint32(b[crcAt:]); got != sum || len(b) != headerSize+2 {
		t.Errorf("got %d bytes, checksum %x, want %x", len(b), got, sum)
	}
}

func FuzzFrame(f *testing.F) {
	fr := frame{number: 1, index: 1, count: 1, at: 5, inc: 6, seq: 7, payload: []byte(`{"v":1}`)}
	b := fr.append(nil)
	f.Add(append([]byte{byte(len(b))}, b...))
	f.Add([]byte{0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		acknowledged(b, 1)
		prefix, size, err := recordLen(b)
		if err != nil {
			return
		}
		if again := binary.AppendUvarint(nil, uint64(size)); !bytes.Equal(again, b[:prefix]) {
			t.Fatalf("length %x read as %d, which is written %x", b[:prefix], size, again)
		}
		var fr frame
		n, err := parseFrame(b[prefix:], &fr)
		if err != nil {
			return
		}
		if again := fr.append(nil); !bytes.Equal(again, b[prefix:prefix+n]) {
			t.Fatalf("frame %x read and written is %x", b[prefix:prefix+n], again)
		}
		p := place{number: fr.number, index: fr.index, crc: fr.prev, at: fr.at, pos: fr.pos}
		if err := p.follow(&fr); err == nil && (p.number != fr.number+1 || p.index <= fr.index) {
			t.Fatalf("frame %+v leads to %+v", fr, p)
		}
	})
}

func FuzzManifest(f *testing.F) {
	m := manifest{gen: 3, id: logID{1}, inc: 4, first: place{number: 1, index: 1, crc: 5},
		next: mark{place{6, 7, 8, 9, 1}, 3, 44}, clean: true}
	f.Add(m.append(nil))
	f.Add([]byte(manifestMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= slotSize {
			resum(b)
		}
		m, err := parseSlot(b)
		if err != nil {
			return
		}
		again, err := parseSlot(m.append(nil))
		if err != nil || again != m {
			t.Fatalf("%+v written and read is %+v, %v", m, again, err)
		}
	})
}

// TestPlace_takesOnlyTheNextRecord changes one field of the record that would be next, which is whole all the same.
func TestPlace_takesOnlyTheNextRecord(t *testing.T) {
	at := place{number: 7, index: 20, crc: 5, at: 1000, pos: 3}
	next := frame{number: 7, index: 20, count: 2, pos: 3, at: 1000, inc: 1, seq: 1, prev: 5, crc: 9}
	p := at
	if err := p.follow(&next); err != nil || p != (place{8, 22, 9, 1000, 4}) {
		t.Errorf("got %+v, %v", p, err)
	}
	p, begins := at, next
	begins.pos = 0
	if err := p.follow(&begins); err != nil {
		t.Errorf("first of a batch: %v", err)
	}
	for what, change := range map[string]func(*frame){
		"number before":       func(f *frame) { f.number-- },
		"number after":        func(f *frame) { f.number++ },
		"index before":        func(f *frame) { f.index-- },
		"index after":         func(f *frame) { f.index++ },
		"no events":           func(f *frame) { f.count = 0 },
		"not on the chain":    func(f *frame) { f.prev++ },
		"place in the batch":  func(f *frame) { f.pos = 2 },
		"time before":         func(f *frame) { f.at-- },
		"without incarnation": func(f *frame) { f.inc = 0 },
		"without seq":         func(f *frame) { f.seq = 0 },
	} {
		p, f := at, next
		change(&f)
		if err := p.follow(&f); err == nil || p != at {
			t.Errorf("%s: taken", what)
		}
	}
}

func TestRecordLen_oneSpelling(t *testing.T) {
	for _, b := range [][]byte{nil, {0}, {96}, {0x80}, {0xe1, 0}, {0xe1, 0x80, 0}, {0xff, 0xff, 0xff, 0xff, 0x0f}} {
		if _, n, err := recordLen(b); err == nil {
			t.Errorf("%x: read as %d", b, n)
		}
	}
	if prefix, size, err := recordLen([]byte{0xe1, 1, 0}); err != nil || prefix != 2 || size != 225 {
		t.Errorf("got %d, %d, %v", prefix, size, err)
	}
}
