package events

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// MANIFEST says how far the log is durable, which the segments cannot say of themselves: a last record that is
// missing looks like one that was never written. It holds two slots, written in turn, so that a crash while one is
// written leaves the other.
const (
	manifestName  = "MANIFEST"
	manifestMagic = "PSM"
	slotSize      = 512  // what is written at once: one sector
	slotAt        = 4096 // distance of the slots: no page and no sector holds part of both
	flagClean     = 1

	manifestSealed = 2 // the format of one of a sealed log: who does not know of those must not take its records for damage
)

type logID [16]byte

func newLogID() logID {
	var id logID
	rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	return id
}

// crc is what the first record of the log names as the CRC of the one before.
func (id logID) crc() uint32 { return crc32.Checksum(id[:], castagnoli()) }

// machine is what MANIFEST keeps of the machine's id: enough to know it again, not enough to tell it.
func (id logID) machine(s string) Hash {
	return sha256.Sum256(append([]byte("podman-swarm machine "+string(id[:])), s...))
}

// manifest is what a slot says.
type manifest struct {
	gen     uint64 // the greater is the newer
	id      logID
	inc     Incarnation
	machine Hash
	first   place // of the first record
	next    mark  // where the next record would go: all before it is durable
	clean   bool  // the log was closed there, and nothing was written after
	sealed  bool
	key     KeyID // that it is sealed with
}

// The slot:
//
//	  0  3  magic: 'P' 'S' 'M'
//	  3  1  format version: 1; of a sealed log 2
//	  4  4  flags: 1 closed cleanly
//	  8  8  generation
//	 16 16  log id
//	 32  8  incarnation
//	 40 32  SHA-256 that binds log id and machine id
//	 72  8  number of the log's first record
//	 80  8  index of its first event
//	 88  4  CRC that the first record names as that of the one before
//	 92  4  position in its batch that the next record may have
//	 96  8  durable end: number of the next record
//	104  8  index of the next event
//	112  8  when the last record was written, Unix microseconds
//	120  8  segment in which the next record goes, or beyond which it begins one: number of its first record
//	128  8  bytes of that segment that are durable
//	136  4  CRC of the last record
//	140 16  id of the key, of a sealed log; else zero
//	156 352 zero
//	508  4  CRC-32C of bytes 0 to 507
func (m *manifest) append(b []byte) []byte {
	le, from := binary.LittleEndian, len(b)
	b = append(b, manifestMagic...)
	format, flags := byte(Version), uint32(0)
	if m.clean {
		flags = flagClean
	}
	if m.sealed {
		format = manifestSealed
	}
	b = append(b, format)
	b = le.AppendUint32(b, flags)
	b = le.AppendUint64(b, m.gen)
	b = append(b, m.id[:]...)
	b = le.AppendUint64(b, uint64(m.inc))
	b = append(b, m.machine[:]...)
	b = le.AppendUint64(b, m.first.number)
	b = le.AppendUint64(b, m.first.index)
	b = le.AppendUint32(b, m.first.crc)
	b = le.AppendUint32(b, m.next.pos)
	b = le.AppendUint64(b, m.next.number)
	b = le.AppendUint64(b, m.next.index)
	b = le.AppendUint64(b, uint64(m.next.at))
	b = le.AppendUint64(b, m.next.seg)
	b = le.AppendUint64(b, uint64(m.next.off))
	b = le.AppendUint32(b, m.next.crc)
	b = append(b, m.key[:]...)
	b = append(b, make([]byte, slotSize-4-(len(b)-from))...)
	return le.AppendUint32(b, crc32.Checksum(b[from:], castagnoli()))
}

func parseSlot(b []byte) (manifest, error) {
	le := binary.LittleEndian
	if len(b) < slotSize || string(b[:3]) != manifestMagic ||
		le.Uint32(b[slotSize-4:]) != crc32.Checksum(b[:slotSize-4], castagnoli()) {
		return manifest{}, errCRC
	}
	if b[3] > manifestSealed {
		return manifest{}, fmt.Errorf("%s of format %d: %w", manifestName, b[3], ErrVersion)
	}
	m := manifest{
		gen:     le.Uint64(b[8:]),
		id:      logID(b[16:]),
		inc:     Incarnation(le.Uint64(b[32:])),
		machine: Hash(b[40:]),
		first:   place{number: le.Uint64(b[72:]), index: le.Uint64(b[80:]), crc: le.Uint32(b[88:])},
		clean:   le.Uint32(b[4:])&flagClean != 0,
		sealed:  b[3] == manifestSealed,
		key:     KeyID(b[140:]),
	}
	m.next = mark{
		place: place{le.Uint64(b[96:]), le.Uint64(b[104:]), le.Uint32(b[136:]), int64(le.Uint64(b[112:])), le.Uint32(b[92:])},
		seg:   le.Uint64(b[120:]), off: int64(le.Uint64(b[128:])),
	}
	return m, nil
}

// start is where the first record is, or goes.
func (m *manifest) start() mark { return mark{place: m.first, seg: m.first.number} }

// readManifest returns the newer of the two slots, and which one it is. When the other is damaged, it says so in
// spoilt; then there may have been a newer one, so the one there is not trusted to say where the log ended, only
// up to where it is durable.
func readManifest(dir string) (m manifest, slot int, spoilt error, err error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return m, 0, nil, err
	}
	var slots [2]manifest
	var errs [2]error
	for i := range slots {
		slots[i], errs[i] = parseSlot(b[min(len(b), i*slotAt):])
		if errors.Is(errs[i], ErrVersion) {
			return m, 0, nil, errs[i]
		}
	}
	switch {
	case errs[0] != nil && errs[1] != nil:
		return m, 0, nil, fmt.Errorf("%s is damaged, both parts of it, so how much of the log was durable is not known. "+
			"Put back the one of a copy of this folder, or move the folder aside to begin a new log; "+
			"`podman-swarm-agent log dump` prints what is whole in it", manifestName)
	case errs[0] == nil && (errs[1] != nil || slots[0].gen > slots[1].gen):
		slot = 0
	default:
		slot = 1
	}
	m = slots[slot]
	if spoilt = errs[1-slot]; spoilt != nil {
		m.clean = false
	}
	return m, slot, spoilt, nil
}

// notes keep MANIFEST, off the path of the appends.
type notes struct {
	io sync.Mutex // of the file and of m
	f  *os.File
	m  manifest // as last written
	at int      // the slot that holds it

	said atomic.Pointer[mark] // m.next, for who must not wait for the disk

	mu      sync.Mutex // of the timer; never held while the disk works
	timer   *time.Timer
	due     bool
	stopped bool
	wg      sync.WaitGroup
}

// write makes the other slot say that the log is durable up to next. On an error the slot with the last word is
// still whole, and the next write tries the same one again.
func (n *notes) write(next mark, clean bool) error {
	n.io.Lock()
	defer n.io.Unlock()
	m := n.m
	m.gen, m.next, m.clean = m.gen+1, next, clean
	at := 1 - n.at
	if _, err := n.f.WriteAt(m.append(nil), int64(at*slotAt)); err != nil {
		return err
	}
	if err := n.f.Sync(); err != nil {
		return err
	}
	n.m, n.at = m, at
	n.said.Store(&m.next)
	return nil
}

// rename makes both slots say that the log is another incarnation's: the old one must not count on, whichever is lost.
func (l *Log) rename(inc Incarnation) error {
	n := &l.notes
	n.io.Lock()
	n.m.inc = inc
	n.io.Unlock()
	for range 2 {
		err := n.write(l.tail.Load().next, false)
		if noSpace(err) && l.reserve.release() { // a file system that never writes in place
			err = n.write(l.tail.Load().next, false)
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", manifestName, err)
		}
	}
	return nil
}

// soon has fn called once after d, unless that is about to happen anyway.
func (n *notes) soon(d time.Duration, fn func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.stopped:
	case n.due:
		if d == 0 && n.timer.Stop() {
			n.timer.Reset(0)
		}
	default:
		n.due = true
		n.wg.Add(1)
		n.timer = time.AfterFunc(d, func() {
			defer n.wg.Done()
			n.mu.Lock()
			n.due = false
			n.mu.Unlock()
			fn()
		})
	}
}

// stop returns when nothing is written any more but by its caller.
func (n *notes) stop() {
	n.mu.Lock()
	n.stopped = true
	if n.due && n.timer.Stop() {
		n.wg.Done()
	}
	n.mu.Unlock()
	n.wg.Wait()
}

// keep notes down how far the log is durable, and makes the reserve again when there is room.
func (l *Log) keep() {
	if l.usable() != nil {
		return
	}
	switch err := l.notes.write(l.tail.Load().next, false); {
	case noSpace(err): // on a file system that never writes in place; the watermark stays behind until there is room
		l.o.Log.Warn("watermark not written: disk is full", "dir", l.dir)
		l.notes.soon(noteEvery, l.keep)
	case err != nil:
		l.fail(fmt.Errorf("write %s: %w", manifestName, err))
	}
	l.keepReserve()
}

// noteEvery is how far the watermark may be behind.
const noteEvery = time.Second

// createManifest makes MANIFEST of a new log, whole or not at all.
func createManifest(dir string, m manifest) error {
	b := m.append(nil)
	b = append(b, make([]byte, slotAt-len(b))...)
	m.gen++
	b = m.append(b)
	tmp := filepath.Join(dir, manifestName+".tmp")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, manifestName)); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func exists(name string) (bool, error) {
	_, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
