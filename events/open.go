package events

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidwall/wal"
)

// Open opens the log in dir, or begins one there if there is none, and holds it until Close or the end of the
// process. On nil every record in it has been read and found whole and in its place, and is durable.
//
// What a crash left unfinished is cut off, set aside beside its segment and said in Stats and a log line; that was
// never acknowledged. Any other damage is refused with a *CorruptError, and nothing is changed. A log that another
// has open is refused with ErrLocked, and one that is sealed otherwise than o.Key says with ErrSealed or ErrWrongKey, or, where it is plain, another error. A crash within Open leaves a folder that Open takes.
func Open(dir string, o Options) (*Log, error) {
	o.defaults()
	l, err := open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	return l, nil
}

func open(dir string, o Options) (*Log, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := MakeDir(dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	l := &Log{dir: dir, o: o, lock: lock, sync: (*wal.Log).Sync}
	l.reserve.path, l.reserve.want = filepath.Join(dir, "RESERVE"), max(0, o.Reserve)
	l.reserve.find()
	if err := l.load(); err != nil {
		if l.notes.f != nil {
			err = errors.Join(err, l.notes.f.Close())
		}
		return nil, errors.Join(err, lock.Close())
	}
	l.keepReserve()
	return l, nil
}

// MakeDir makes a folder and those above it, as far as they are not there. When it returns nil their names are durable; one whose name cannot be made so does not
// stay, so that the next try does not take it for durable.
func MakeDir(dir string) error {
	there, err := exists(dir)
	if err != nil || there {
		return err
	}
	above := filepath.Dir(dir)
	if err := MakeDir(above); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := syncDir(above); err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	return nil
}

// lockDir takes the folder's lock, which ends with the process that holds it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		defer f.Close()
		if !errors.Is(err, ErrLocked) {
			return nil, err
		}
		b := make([]byte, 20)
		n, _ := f.ReadAt(b, 0)
		return nil, fmt.Errorf("%w by process %s", ErrLocked, strings.TrimSpace(string(b[:n])))
	}
	// Who holds the lock is for people to read. That a full disk does not take it is no reason to refuse.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// lockFile takes the lock of an open file, which ends when that is closed, or with ErrLocked does not wait for it.
func lockFile(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil
}

// listSegments returns the folder's segments in order. It takes for one what tidwall/wal would, and refuses what
// that would act on unasked.
func listSegments(dir string) ([]span, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var spans []span
	for _, e := range entries {
		name := e.Name()
		if len(name) < 20 || e.IsDir() {
			continue
		}
		first, err := strconv.ParseUint(name[:20], 10, 64)
		if err != nil || first == 0 {
			continue
		}
		switch name[20:] {
		case "":
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) { // trimmed off just now; what is needed is missed by who reads it
				continue
			}
			if err != nil {
				return nil, err
			}
			spans = append(spans, span{first, info.Size()})
		case ".START", ".END":
			return nil, fmt.Errorf("%s: this log is never shortened in that way, so this file is not from it, and segments "+
				"would be deleted on its account: move it out of the folder", name)
		}
	}
	return spans, nil
}

// load brings the log from its files to where it can be appended to.
func (l *Log) load() error {
	spans, err := listSegments(l.dir)
	if err != nil {
		return err
	}
	if spans, err = l.create(spans); err != nil {
		return err
	}
	if l.notes.f, err = os.OpenFile(filepath.Join(l.dir, manifestName), os.O_RDWR, 0); err != nil {
		return err
	}
	if err := lockFile(l.notes.f); err != nil { // LOCK may have been removed, in the belief that it was left over
		return fmt.Errorf("%s: %w", manifestName, err)
	}
	m, slot, spoilt, err := readManifest(l.dir)
	if err != nil {
		return err
	}
	if spoilt != nil {
		l.o.Log.Warn("one of the two parts of MANIFEST is damaged; going on with the other", "dir", l.dir, "error", spoilt)
	}
	if err := m.fits(l.o.Key); err != nil {
		return err
	}
	l.notes.m, l.notes.at = m, slot
	if err := l.scan(since(spans, m.first.number), m); err != nil { // what is before is left of a trim
		return err
	}
	if err := l.removeBefore(m.first.number); err != nil { // what a trim had no time for; before tidwall/wal sees it
		return err
	}
	if err := l.openWAL(); err != nil {
		return err
	}
	return l.begin(m)
}

// create makes the files of a new log, where there is none. A crash leaves an empty segment without MANIFEST,
// which is no log yet.
func (l *Log) create(spans []span) ([]span, error) {
	there, err := exists(filepath.Join(l.dir, manifestName))
	if err != nil || there {
		return spans, err
	}
	if len(spans) > 1 || len(spans) == 1 && spans[0] != (span{1, 0}) {
		return nil, fmt.Errorf("%s is missing beside segment %s, so how much of the log was durable is not known. "+
			"Put back the one of a copy of this folder, or move the folder aside to begin a new log; "+
			"`podman-swarm-agent log dump` prints what is whole in it", manifestName, segmentName(spans[0].first))
	}
	f, err := os.OpenFile(filepath.Join(l.dir, segmentName(1)), os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Sync(), f.Close(), syncDir(l.dir)); err != nil {
		return nil, err
	}
	id := newLogID()
	first := place{number: 1, index: 1, crc: id.crc()}
	return []span{{1, 0}}, createManifest(l.dir, manifest{
		gen: 1, id: id, inc: l.o.Draw(), machine: id.machine(l.o.Machine),
		first: first, next: mark{place: first, seg: 1}, clean: true, sealed: l.o.Key != nil, key: l.o.Key.ID(),
	})
}

// openWAL opens the segments, all of which have been found whole, for appending.
func (l *Log) openWAL() error {
	w, err := wal.Open(l.dir, &wal.Options{
		NoSync: true, SegmentSize: int(min(l.o.SegmentBytes, math.MaxInt)), SegmentCacheSize: 1, NoCopy: true,
		AllowEmpty: true, DirPerms: 0o750, FilePerms: 0o640,
	})
	if err != nil {
		return fmt.Errorf("open segments: %w", err)
	}
	next := l.tail.Load().next
	switch last, err := w.LastIndex(); {
	case err != nil:
		return err
	case last != next.number-1:
		return errors.Join(fmt.Errorf("the segments end with record %d, and tidwall/wal finds %d", next.number-1, last), w.Close())
	}
	l.wal = w
	return nil
}

// begin notes down in MANIFEST that the log is open, and whose it is.
func (l *Log) begin(m manifest) error {
	l.id = m.id
	inc := m.inc
	times := 1
	if machine := m.id.machine(l.o.Machine); machine != m.machine {
		inc = l.o.Draw()
		l.notes.m.inc, l.notes.m.machine = inc, machine
		times = 2 // in both parts: the old incarnation is not this machine's, whichever of them is lost
		l.o.Log.Warn("log folder comes from another machine: this host counts its events anew",
			"dir", l.dir, "was", m.inc, "incarnation", inc)
	}
	l.inc.Store(uint64(inc))
	for range times {
		err := l.notes.write(l.tail.Load().next, false)
		if noSpace(err) && l.reserve.release() { // a file system that never writes in place
			err = l.notes.write(l.tail.Load().next, false)
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", manifestName, err)
		}
	}
	return nil
}
