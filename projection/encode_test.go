package projection

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// everyShape is a state that has a bit of everything: conflicts, ends before creations, missing versions.
func everyShape(t testing.TB) *State {
	for seed := uint64(1); ; seed++ {
		r := rand.New(rand.NewPCG(seed, 0))
		w := newWorld(t, r)
		w.run(30, true)
		s := foldSome(w.commits, r).state
		s.at = time.UnixMicro(1_700_000_000_123_456).UTC()
		if has := shapes(s); has == [4]bool{true, true, true, true} {
			return s
		} else if seed == 10_000 {
			t.Fatalf("no history gave a state with lost, missing, ended and several: %v", has)
		}
	}
}

// shapes reports whether a state holds lost versions, missing ones, ended objects, and several objects of one key.
func shapes(s *State) (has [4]bool) {
	s.objects.Scan(func(_ string, e *entry) bool {
		for _, l := range e.lives {
			has = [4]bool{has[0] || l.lost != nil, has[1] || l.missing != nil, has[2] || l.ended, has[3] || len(e.lives) > 1}
		}
		return true
	})
	return has
}

func TestDecodeState_givesBackTheState(t *testing.T) {
	eachHistory(t, func(t *testing.T, r *rand.Rand) {
		w := newWorld(t, r)
		w.run(20, true)
		s := foldSome(w.commits, r).state
		was := encoded(t, s)
		got, err := DecodeState(iotest.OneByteReader(bytes.NewReader(was)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encoded(t, got), was) || got.Digest() != s.Digest() || picture(got) != picture(s) ||
			vectorOf(got) != vectorOf(s) || got.Index() != s.Index() || !got.At().Equal(s.At()) || got.Len() != s.Len() {
			t.Errorf("state is not what it was: %s\nwant\n%s", picture(got), picture(s))
		}
		for i, h := range s.Vector() {
			if got.Vector()[i] != h {
				t.Errorf("head is %v, want %v", got.Vector()[i], h)
			}
		}
		for _, c := range w.commits { // and it folds on as the other does
			if s.Head(c.Inc).Seq+1 == c.Seq {
				s = s.Fold(c, hashOf(c), s.Index()+1, s.At())
				got = got.Fold(c, hashOf(c), got.Index()+1, got.At())
			}
		}
		if !bytes.Equal(encoded(t, got), encoded(t, s)) {
			t.Error("folding on, it became another state")
		}
	})
}

func TestDecodeState_refusesAnyPartAndAnyMore(t *testing.T) {
	b := encoded(t, everyShape(t))
	for n := range b {
		if _, err := DecodeState(bytes.NewReader(b[:n])); err == nil {
			t.Errorf("the first %d of %d bytes were taken for a state", n, len(b))
		}
	}
	if _, err := DecodeState(bytes.NewReader(append(b, 0))); err == nil {
		t.Error("a byte more was taken for a state")
	}
}

// The form has no checksum, so a flipped bit may give another state; but never one that is not well-formed.
func TestDecodeState_takesNothingButWhatEncodeWrites(t *testing.T) {
	b := encoded(t, everyShape(t))
	for i := range b {
		for bit := range 8 {
			damaged := bytes.Clone(b)
			damaged[i] ^= 1 << bit
			if s, err := DecodeState(bytes.NewReader(damaged)); err == nil && !bytes.Equal(encoded(t, s), damaged) {
				t.Fatalf("byte %d bit %d flipped: taken, and not for what it is", i, bit)
			}
		}
	}
}

// A state that breaks what the fold counts on is refused, even where every number in it can be read.
func TestDecodeState_refusesWhatNoFoldMakes(t *testing.T) {
	v := func(seq uint64) *Version {
		return &Version{Kind: events.Declared, Stamp: events.Stamp{Time: 1, ID: events.ID{Inc: 1, Seq: seq}}, Object: []byte(`{}`)}
	}
	uid := func(seq uint64) events.ID { return events.ID{Inc: 1, Seq: seq} }
	for want, spoil := range map[string]func(*State){
		"heads out of order":            func(s *State) { s.vector = []Head{{Inc: 2}, {Inc: 1}} },
		"a key without an object":       func(s *State) { s.objects.Set("a/x", &entry{key: "a/x"}) },
		"objects of a key out of order": lives(life{uid: uid(2), top: v(2)}, life{uid: uid(1), top: v(1)}),
		"neither shows a version":       lives(life{uid: uid(1)}),
		"versions out of order":         lives(life{uid: uid(1), top: v(1), lost: []*Version{v(2)}}),
		"a kind that loses none": lives(life{uid: uid(1), top: v(2), lost: []*Version{
			{Kind: events.Observed, Stamp: v(1).Stamp, Object: []byte(`{}`)}}}),
		"without an object": lives(life{uid: uid(1), top: &Version{Kind: events.Declared}}),
	} {
		s := NewState()
		spoil(s)
		if _, err := DecodeState(bytes.NewReader(encoded(t, s))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one that says %q", err, want)
		}
	}
	two := lives(life{uid: uid(1), top: v(1)})
	s := NewState()
	two(s)
	b := encoded(t, s)
	one := b[len(encoded(t, NewState())):] // the entry
	twice := append(append(append([]byte{}, b[:len(b)-len(one)-1]...), 2), append(one, one...)...)
	if _, err := DecodeState(bytes.NewReader(twice)); err == nil || !strings.Contains(err.Error(), "keys out of order") {
		t.Errorf("error is %v, want one that says that a key is there twice", err)
	}
}

// lives is a state that holds one key with the given objects.
func lives(l ...life) func(*State) {
	return func(s *State) { s.objects.Set("a/x", &entry{key: "a/x", lives: l}) }
}

func TestDecodeState_refusesALaterForm(t *testing.T) {
	_, err := DecodeState(bytes.NewReader([]byte{stateVersion + 1}))
	if err == nil || !strings.Contains(err.Error(), "form 2") {
		t.Errorf("error is %v, want one that names the form", err)
	}
}

func FuzzDecodeState(f *testing.F) {
	f.Add(encoded(f, NewState()))
	f.Add(encoded(f, everyShape(f)))
	f.Add([]byte{1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}) // as many heads as there are numbers
	f.Add([]byte{1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})                // a key of a few terabytes
	others, err := filepath.Glob("../snapshot/testdata/version1/*.json")            // of the program that this one replaces
	if err != nil || len(others) == 0 {
		f.Fatal(others, err)
	}
	for _, file := range others {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeState(bytes.NewReader(b))
		if err != nil {
			return
		}
		if !bytes.Equal(encoded(t, s), b) {
			t.Error("taken, and not for what it is")
		}
		s.Digest()
		s.Conflicts()
		Join(s, s)
	})
}
