package events

import (
	"errors"
	"fmt"
	"path/filepath"
)

// Dump calls fn for every record from the one that holds event from on, with its commit decoded, or nil when it is
// of a format that this version does not understand, or a Jump. It needs no lock and changes nothing, so it may run beside
// the log's owner, and then ends with what is whole, which may be a batch more than is durable. An unfinished end
// is no error. Of a damaged log fn gets all that is whole before the damage, and Dump returns the *CorruptError;
// where MANIFEST is lost it gets all of it, and Dump says that it is lost. key opens a log that is sealed, and is not asked for by another.
// The error wraps ErrTrimmed where the owner has trimmed the log meanwhile, and what would have come next is gone.
func Dump(dir string, key *Key, from uint64, fn func(Record, *Commit) error) error {
	for {
		given := false
		err := whole(dir, key, nil, func(f *frame, _ *mark) error {
			if f.index+uint64(f.count) <= from {
				return nil
			}
			given = true
			c, err := ParseCommit(f.payload)
			if err != nil {
				return fn(f.record(), nil)
			}
			return fn(f.record(), &c)
		})
		if !given && errors.Is(err, ErrTrimmed) {
			continue // the log begins later now, and fn has seen nothing of how it was
		}
		if err != nil {
			return fmt.Errorf("dump log %s: %w", dir, err)
		}
		return nil
	}
}

// whole walks through all of a log that is whole, as Open would find it, and changes nothing. floor, unless nil, is told first where each incarnation
// stands before the log's first record, unless MANIFEST is lost. Nothing is locked, so the log may be trimmed meanwhile: the error is a
// *TrimmedError where the record that fn was to get next is gone by that, and no word of damage.
func whole(dir string, key *Key, floor func(place, heads) error, fn func(*frame, *mark) error) error {
	m, _, _, lost := readManifest(dir) // before the segments: what it says is durable is in them
	next := m.first.number
	var inner error
	err := m.walk(dir, key, lost, floor, func(f *frame, at *mark) error {
		next = f.number + 1
		inner = fn(f, at)
		return inner
	})
	if inner != nil {
		return inner
	}
	if err != nil && lost == nil {
		if now, _, _, nerr := readManifest(dir); nerr == nil && next < now.first.number {
			return &TrimmedError{now.first.number, next, now.first.index}
		}
	}
	return err
}

// walk is that of whole through a log of which MANIFEST says this, unless that is lost.
func (m *manifest) walk(dir string, key *Key, lost error, floor func(place, heads) error, fn func(*frame, *mark) error) error {
	if floor != nil && lost == nil {
		at, err := readFloor(dir, m.first.number)
		if err != nil {
			return err
		}
		if err := floor(m.first, at); err != nil {
			return err
		}
	}
	spans, err := listSegments(dir)
	if err != nil {
		return err
	}
	spans = since(spans, m.first.number) // all of them, where MANIFEST is lost
	if len(spans) == 0 {
		if lost != nil {
			return lost
		}
		start := m.start()
		return missing(&start, m.next.number)
	}
	if lost != nil {
		key = keyOf(dir, spans[0], key)
		if m.first, err = firstPlace(dir, spans[0]); err != nil {
			return errors.Join(err, lost)
		}
		m.next = m.start()
	} else if !m.sealed {
		key = nil
	} else if err := m.fits(key); err != nil {
		return err
	}
	at, err := readFloor(dir, m.first.number)
	if err != nil {
		return errors.Join(err, lost)
	}
	s := scanner{upTo: m.next, heads: at, key: key}
	end, _, bad, err := s.examine(dir, spans, *m, false, fn)
	if err == nil && bad == nil && m.clean && end.number != m.next.number {
		// Unless somebody has opened it since: then that is what goes on.
		if now, _, _, err := readManifest(dir); err != nil || now.gen == m.gen {
			return errors.Join(end.goesOn(m.next.number-1), err)
		}
	}
	return errors.Join(err, lost)
}

// firstPlace is what the first record of a log says of itself, for a log that has nothing else to go by.
func firstPlace(dir string, s span) (place, error) {
	b, err := readPart(filepath.Join(dir, segmentName(s.first)), 0, s.size)
	if err != nil || len(b) == 0 {
		return place{number: s.first, index: 1}, err
	}
	var f frame
	if prefix, _, err := recordLen(b); err == nil {
		if _, err := parseFrame(b[prefix:], &f); err == nil && f.number == s.first {
			return place{number: f.number, index: f.index, crc: f.prev, at: f.at}, nil
		}
	}
	start := mark{place: place{number: s.first, index: 1}, seg: s.first}
	return place{}, start.corrupt(errMagic.Error())
}
