package events

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/wal"
)

var (
	// ErrFull says that nothing was written since the disk is full, or nearly. It ends by itself.
	ErrFull = errors.New("disk is full: nothing was written, and nothing will be until there is room")
	// ErrLocked says that another process, or another part of this one, has the log open.
	ErrLocked = errors.New("log is in use")
	// ErrFailed says that the disk reported an error while the log wrote. Whether the last append is there is not
	// known; nothing is written any more, and only Open finds out.
	ErrFailed = errors.New("log has stopped after a disk error, and whether the last append is there is unknown until it is opened again")
)

// Options of a log. The zero value means the defaults.
type Options struct {
	SegmentBytes int64            // size at which a segment is closed and the next begun; zero: 8 MiB
	MinFree      int64            // free bytes on the disk below which nothing is appended; zero: 64 MiB
	Reserve      int64            // bytes kept allocated beside the log; zero: two segments; negative: none
	Machine      string           // id of this machine; a folder bound to another draws a new incarnation
	Log          *slog.Logger     // nil: silent
	Now          func() time.Time // nil: time.Now
	Key          *Key             // by which the log is sealed; nil: it is plain
	// Draw draws incarnations; nil: NewIncarnation. A test that is to run the same way again draws them from a seed.
	Draw func() Incarnation
	// Observe, unless nil, is told of each fsync of an append: how long it took, and how many bytes and records it
	// made durable. It is called from Append, and delays it.
	Observe func(took time.Duration, bytes, records int)
}

func (o *Options) defaults() {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 8 << 20
	}
	if o.MinFree <= 0 {
		o.MinFree = 64 << 20
	}
	if o.Reserve == 0 {
		o.Reserve = 2 * o.SegmentBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Draw == nil {
		o.Draw = NewIncarnation
	}
}

// Record is one commit as it stands in this log.
type Record struct {
	Number uint64      // of the record in this log, from 1
	Index  uint64      // of its first event in this log, from 1; the next record's is Index+Count
	Count  uint32      // events in it
	At     time.Time   // when this host wrote it, in microseconds, UTC; never before the record before
	Inc    Incarnation // who wrote the commit; zero in a Jump
	Seq    uint64      // number of its first event among Inc's
	Hash   Hash        // SHA-256 of Payload as it was when appended. The checksum guards both; Verify recomputes it
	// Payload is the commit's bytes. It may be kept and must not be changed. It is part of a piece of 64 KiB, or of
	// its own size if that is more, that was read at once and stays in memory with it: who keeps few of many had
	// better copy those.
	Payload []byte
}

// Last is the index of the record's last event.
func (r *Record) Last() uint64 { return r.Index + uint64(r.Count) - 1 }

// Entry is a commit to be appended.
type Entry struct {
	Payload []byte      // the commit's bytes: the writer's own, never encoded anew
	Count   uint32      // events in it
	Hash    Hash        // HashOf(Payload), which the log takes on trust
	Inc     Incarnation // the commit's; zero for a Jump
	Seq     uint64      // the commit's
}

// Position is an end of the log.
type Position struct {
	Record uint64    // number of the last record; zero in an empty log
	Index  uint64    // of the last event; zero in an empty log
	At     time.Time // when the last record was written; zero in an empty log
}

// Log is the write-ahead log of one host: a folder that one process at a time has open. Append, and whatever it
// promises, is for one caller at a time; every other method is safe for concurrent use, and none of the readers
// waits for an fsync.
type Log struct {
	dir  string
	o    Options
	lock *os.File
	id   logID
	inc  atomic.Uint64 // the Incarnation
	cut  *Cut          // what Open repaired
	tail atomic.Pointer[tail]

	failed atomic.Pointer[error] // set once: nothing is written after it

	mu      sync.Mutex // of what follows: Append and Close
	wal     *wal.Log
	batch   wal.Batch
	frame   []byte
	batched int // bytes of the frames in batch
	closed  bool
	sync    func(*wal.Log) error // (*wal.Log).Sync, but in tests of a failing disk

	headMu sync.Mutex
	heads  heads

	reserve reserve
	notes   notes
}

// tail is how far the log is durable. It is never changed once published: slices are appended to beyond what
// those who hold it can see.
type tail struct {
	next   mark   // where the next record goes
	sealed []span // all segments but the last
	marks  []mark // the first record of each segment, and one every markEvery bytes
	bytes  int64  // of all segments
}

// End is the last durable record. It takes no lock.
func (l *Log) End() Position { return l.tail.Load().next.position() }

// Incarnation is this log's own: the one under which this host counts its events now.
func (l *Log) Incarnation() Incarnation { return Incarnation(l.inc.Load()) }

// Head is the last record of an incarnation in this log: the number of its last event and its hash, which is what
// the incarnation's next commit must name. Zero, when the log holds nothing of it.
func (l *Log) Head(inc Incarnation) (last uint64, hash Hash) {
	l.headMu.Lock()
	defer l.headMu.Unlock()
	h := l.heads[inc]
	return h.last, h.hash
}

// Writable is nil when an append would be tried now; otherwise an error that is ErrFull or ErrFailed, or says that
// the log is closed.
func (l *Log) Writable() error {
	if err := l.usable(); err != nil {
		return err
	}
	return l.room(0)
}

func (l *Log) usable() error {
	if err := l.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// fail ends all writing for the life of this Log and returns the error that every append gets from now on.
func (l *Log) fail(cause error) error {
	err := fmt.Errorf("log %s: %w: %w", l.dir, ErrFailed, cause)
	if l.failed.CompareAndSwap(nil, &err) {
		l.o.Log.Error("log stopped after a disk error: nothing more is written until it is opened again",
			"dir", l.dir, "error", cause)
	}
	return *l.failed.Load()
}

// Stats is what there is to say about a log's health.
type Stats struct {
	Segments  int
	Bytes     int64    // of all segments
	End       Position // the last durable record
	Watermark Position // what MANIFEST says is durable: at most about a second behind End
	Free      int64    // bytes free on the disk; -1 when the disk does not say
	Reserve   int64    // bytes held in reserve now
	Cut       *Cut     // what Open cut off; nil when the log was whole
	Writable  error    // as of Writable
}

// Stats are the figures now. It does not wait for the disk, save to ask it for its free space.
func (l *Log) Stats() Stats {
	t := l.tail.Load()
	free, err := freeBytes(l.dir)
	if err != nil {
		free = -1
	}
	return Stats{
		Segments: len(t.sealed) + 1, Bytes: t.bytes, End: t.next.position(), Watermark: l.notes.said.Load().position(),
		Free: free, Reserve: l.reserve.held.Load(), Cut: l.cut,
		Writable: l.Writable(),
	}
}

// Close ends the log: when it returns nil, MANIFEST says that the log was left whole, and where it ends. A log that
// stopped after a disk error is left as it is. Readers under way finish. A second Close does nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.notes.stop()
	err := l.usable()
	if err == nil {
		if err = l.wal.Close(); err == nil {
			err = l.notes.write(l.tail.Load().next, true)
		}
	}
	closed := fmt.Errorf("log %s: %w", l.dir, fs.ErrClosed)
	l.failed.CompareAndSwap(nil, &closed)
	if err != nil {
		err = fmt.Errorf("close log %s: %w", l.dir, err)
	}
	return errors.Join(err, l.notes.f.Close(), l.lock.Close()) // closing LOCK unlocks
}
