package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; zero draws one")

// TestMain lets the test binary be the other process that has a log open: it opens the log in EVENTS_HOLD, says so
// on its standard output and holds it until its standard input ends.
func TestMain(m *testing.M) {
	dir := os.Getenv("EVENTS_HOLD")
	if dir == "" {
		os.Exit(m.Run())
	}
	l, err := Open(dir, Options{Reserve: -1, MinFree: 1})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := l.Close(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// random is a generator whose seed is printed when the test fails.
func random(t testing.TB) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d: repeat with -seed %d", s, s)
	return rand.New(rand.NewPCG(s, s))
}

// ram is a folder in memory where there is one, for tests of thousands of logs.
func ram(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "events")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// author writes the commits of one incarnation.
type author struct {
	inc  Incarnation
	last uint64
	hash Hash
}

// entry is the author's next commit, of so many events with objects of about size bytes.
func (a *author) entry(t testing.TB, count, size int) Entry {
	t.Helper()
	c := Commit{Inc: a.inc, Seq: a.last + 1, Time: Time(a.last+1) << 16, Prev: a.hash, Node: "alpha", Actor: "test", Cause: "apply"}
	for i := range count {
		object, err := json.Marshal(map[string]string{"fill": strings.Repeat("x", size)})
		if err != nil {
			t.Fatal(err)
		}
		c.Events = append(c.Events, Event{Kind: Declared, Key: fmt.Sprintf("deployment/default/web-%d", c.Seq), UID: c.ID(i), Object: object})
	}
	b, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	a.last, a.hash = c.Last(), HashOf(b)
	return Entry{Payload: b, Count: uint32(count), Hash: a.hash, Inc: c.Inc, Seq: c.Seq}
}

func small() Options {
	return Options{SegmentBytes: 4096, MinFree: 1, Reserve: -1, Machine: "m1", Key: testKey()}
}

// sealed has the logs of small be sealed: TestSealed_guards runs the tests of crash and damage once more with it.
var sealed = flag.Bool("sealed", false, "the tests' logs are sealed")

// testKey is the key of the tests' logs; nil unless they are sealed.
func testKey() *Key {
	if !*sealed {
		return nil
	}
	return keyOfBytes(1)
}

// keyOfBytes is a key, another for each b.
func keyOfBytes(b byte) *Key {
	k, err := NewKey(bytes.Repeat([]byte{b}, KeyBytes))
	if err != nil {
		panic(err)
	}
	return k
}

func mustOpen(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func mustAppend(t testing.TB, l *Log, entries ...Entry) {
	t.Helper()
	if err := l.Append(entries); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// die lets go of the log as the death of its process does.
func die(l *Log) {
	l.notes.stop()
	l.notes.f.Close()
	l.lock.Close()
}

// holds checks that the log is a beginning of want, record by record, and returns how long.
func holds(t testing.TB, l *Log, want []Entry) int {
	t.Helper()
	n, index := 0, uint64(1)
	err := l.Replay(0, func(r Record) error {
		if n >= len(want) {
			return fmt.Errorf("record %d: want %d records", r.Number, len(want))
		}
		e := want[n]
		n++
		if r.Number != uint64(n) || r.Index != index || r.Count != e.Count || r.Hash != e.Hash || r.Inc != e.Inc ||
			r.Seq != e.Seq || !bytes.Equal(r.Payload, e.Payload) {
			return fmt.Errorf("record %d: got %d, index %d, %d events, payload %.40s…; want index %d, %d events, payload %.40s…",
				n, r.Number, r.Index, r.Count, r.Payload, index, e.Count, e.Payload)
		}
		index += uint64(r.Count)
		return nil
	})
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	if end := l.End(); end.Record != uint64(n) || end.Index != index-1 {
		t.Fatalf("end: got %+v, want record %d, index %d", end, n, index-1)
	}
	return n
}

func mustHold(t testing.TB, l *Log, want []Entry) {
	t.Helper()
	if n := holds(t, l, want); n != len(want) {
		t.Fatalf("got %d records, want %d", n, len(want))
	}
}

// image is what is in a log's folder.
type image map[string][]byte

func imageOf(t testing.TB, dir string) image {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	im := image{}
	for _, e := range names {
		if e.Name() == "RESERVE" {
			continue // it holds nothing, and comes and goes
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		im[e.Name()] = b
	}
	return im
}

// put makes dir what the image is.
func (im image) put(t testing.TB, dir string) {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range names {
		if _, ok := im[e.Name()]; !ok {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	for name, b := range im {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

// with is the image with one file changed; nil removes it.
func (im image) with(name string, b []byte) image {
	c := image{}
	for k, v := range im {
		c[k] = v
	}
	if c[name] = b; b == nil {
		delete(c, name)
	}
	return c
}

// segments are the names of the image's segments, in order.
func (im image) segments() []string {
	var names []string
	for i := uint64(1); i < 10000; i++ {
		if _, ok := im[segmentName(i)]; ok {
			names = append(names, segmentName(i))
		}
	}
	return names
}

// data is the image without what Open and its owner keep beside the segments.
func (im image) data() image {
	c := image{}
	for k, v := range im {
		if k != "LOCK" && k != manifestName {
			c[k] = v
		}
	}
	return c
}

func same(a, b image) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || !bytes.Equal(v, w) {
			return false
		}
	}
	return true
}

// mustRefuse checks that the folder is refused with a *CorruptError and left as it is.
func mustRefuse(t testing.TB, dir string, what string) *CorruptError {
	t.Helper()
	before := imageOf(t, dir).data()
	l, err := Open(dir, small())
	if err == nil {
		l.Close()
		t.Fatalf("%s: opened, with %+v; want it refused", what, l.End())
	}
	var c *CorruptError
	if !errors.As(err, &c) {
		t.Fatalf("%s: got %v, want a *CorruptError", what, err)
	}
	if !same(before, imageOf(t, dir).data()) {
		t.Fatalf("%s: refused with %v, but the folder was changed", what, err)
	}
	return c
}
