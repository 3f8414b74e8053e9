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
func Dump(dir string, key *Key, from uint64, fn func(Record, *Commit) error) error {
	err := whole(dir, key, func(f *frame, _ *mark) error {
		if f.index+uint64(f.count) <= from {
			return nil
		}
		c, err := ParseCommit(f.payload)
		if err != nil {
			return fn(f.record(), nil)
		}
		return fn(f.record(), &c)
	})
	if err != nil {
		return fmt.Errorf("dump log %s: %w", dir, err)
	}
	return nil
}

// Chain is the hash chain of one incarnation, as far as Verify found it whole.
type Chain struct {
	Inc     Incarnation
	Node    string // name of the host, as its last commit gives it
	First   uint64 // number of the first of its events in this log
	Last    uint64 // of the last one found good
	Records int    // found good
	Gaps    int    // places where events are missing that were transferred as state
	Head    Hash   // of the last one found good
	Bad     error  // what is wrong with the next one; nil when all are good
}

// Verify recomputes every hash and follows the chain of each incarnation in the log in dir, in the order in which
// they first occur. It needs no lock and changes nothing. The error says that the log itself is damaged, or that
// chains are broken, naming host, incarnation and event; the chains are returned in either case.
// key is as in Dump.
func Verify(dir string, key *Key) ([]Chain, error) {
	var chains []Chain
	at := map[Incarnation]int{}
	err := whole(dir, key, func(f *frame, _ *mark) error {
		if f.inc == 0 {
			return nil // a jump: no host's, and its checksum has been checked
		}
		i, ok := at[f.inc]
		if !ok {
			i = len(chains)
			at[f.inc] = i
			chains = append(chains, Chain{Inc: f.inc, First: f.seq})
		}
		if c := &chains[i]; c.Bad == nil {
			c.Bad = c.follow(f)
		}
		return nil
	})
	for i := range chains {
		err = errors.Join(err, chains[i].Bad)
	}
	if err != nil {
		return chains, fmt.Errorf("verify log %s: %w", dir, err)
	}
	return chains, nil
}

// follow takes in the next record of the chain. That it follows on the one before, by the hashes put down, is seen
// before it comes here.
func (c *Chain) follow(f *frame) error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("host %q, incarnation %v, event %d, record %d: %w", c.Node, c.Inc, f.seq, f.number, fmt.Errorf(format, a...))
	}
	if h := HashOf(f.payload); h != f.hash {
		return bad("its hash is %v, and it was put down as %v", h, f.hash)
	}
	m, err := ParseCommit(f.payload)
	if err != nil && !errors.Is(err, ErrVersion) {
		return bad("%w", err)
	}
	if err == nil {
		c.Node = m.Node
		if m.Inc != f.inc || m.Seq != f.seq || len(m.Events) != int(f.count) {
			return bad("it says that it is %d events of incarnation %v from %d on", len(m.Events), m.Inc, m.Seq)
		}
	}
	if c.Records > 0 && f.seq > c.Last+1 {
		c.Gaps++
	}
	c.Last, c.Head = f.seq+uint64(f.count)-1, f.hash
	c.Records++
	return nil
}

// whole walks through all of a log that is whole, as Open would find it, and changes nothing.
func whole(dir string, key *Key, fn func(*frame, *mark) error) error {
	m, _, _, lost := readManifest(dir) // before the segments: what it says is durable is in them
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
	var inner error
	s := scanner{upTo: m.next, heads: at, key: key}
	end, _, bad, err := s.examine(dir, spans, m, false, func(f *frame, at *mark) error {
		inner = fn(f, at)
		return inner
	})
	if inner != nil {
		return inner
	}
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
