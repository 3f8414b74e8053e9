package sync

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// chain are commits of one incarnation, each of one event, as their writer would write them.
func chain(t testing.TB, inc events.Incarnation, n int) (all [][]byte) {
	t.Helper()
	var prev events.Hash
	for i := range n {
		id := events.ID{Inc: inc, Seq: uint64(i) + 1}
		c := events.Commit{Inc: inc, Seq: id.Seq, Time: events.TimeOf(simStart.Add(time.Duration(i) * time.Second)), Prev: prev, Node: "far", Actor: "a test",
			Events: []events.Event{{Kind: events.Declared, Key: fmt.Sprintf("deployment/default/%x-%d", uint64(inc), i), UID: id, Object: []byte(`{}`)}}}
		b, err := c.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		prev = events.HashOf(b)
		all = append(all, b)
	}
	return all
}

// lone is a host that hears only what a test has it hear, and what it says.
func lone(t testing.TB) (*node, *[]message) {
	s := newSim(t, 1, "a")
	n := s.nodes["a"]
	n.starting = false
	var said []message
	n.core.out.send = func(subject string, data []byte) { said = append(said, message{subject, data}) }
	return n, &said
}

func (n *node) hear(subject string, data []byte) {
	n.step(func() { n.core.receive([]message{{subject, data}}) })
}

func TestStash_whatCameTooEarlyIsNotAskedForAgain(t *testing.T) {
	n, _ := lone(t)
	all := chain(t, 9, 5)
	for _, i := range []int{4, 2, 1, 3, 2} {
		n.hear(n.core.subject.commit("b"), all[i])
	}
	if got := n.ledger.View().Head(9).Seq; got != 0 {
		t.Fatalf("folded up to %d without what comes first", got)
	}
	n.hear(n.core.subject.commit("b"), all[0])
	if got := n.ledger.View().Head(9).Seq; got != 5 || n.core.stash.bytes != 0 || len(n.core.stash.held) != 0 {
		t.Errorf("folded up to %d, %d bytes of %d incarnations are kept, want 5 and none", got, n.core.stash.bytes, len(n.core.stash.held))
	}
}

func TestStash_isBoundedAndForgetsWhatIsFolded(t *testing.T) {
	var s stash
	big := make([]byte, stashMost/3)
	for i := range 5 {
		s.put(&projection.Admission{Inc: 9, Seq: uint64(10 + i), Last: uint64(10 + i)}, big)
	}
	if s.bytes > stashMost || len(s.held[9]) != 3 {
		t.Errorf("%d bytes in %d commits are kept, want at most %d", s.bytes, len(s.held[9]), stashMost)
	}
	n, _ := lone(t)
	all := chain(t, 9, 3)
	n.hear(n.core.subject.commit("b"), all[2])
	if len(n.core.stash.held) != 1 {
		t.Fatal("what came too early is not kept")
	}
	if _, err := n.ledger.Admit(context.Background(), all); err != nil { // by another way
		t.Fatal(err)
	}
	n.step(n.core.tick)
	if n.core.stash.bytes != 0 {
		t.Errorf("%d bytes are kept of what is folded", n.core.stash.bytes)
	}
}

// A host that starts again may come from a disk that was put back: what it had said then is not held against it.
func TestStash_forgetsWhoStartsAgain(t *testing.T) {
	n, _ := lone(t)
	all := chain(t, 9, 3)
	n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: 1, Inc: 9, Seq: 3}, nil))
	n.hear(n.core.subject.commit("b"), all[1])
	n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 2, Number: 2, Inc: 9, Seq: 1}, nil))
	n.hear(n.core.subject.commit("b"), all[0])
	if got := n.ledger.View().Head(9).Seq; got != 1 {
		t.Errorf("folded up to %d, want 1", got)
	}
}

// A host whose disk was full claims afterwards what it had only heard before: it has to be heard again.
func TestBeats_whoWasReadOnlyIsFoldedAnew(t *testing.T) {
	n, _ := lone(t)
	m := markOf(n.ledger.View().Vector())
	for i, c := range []struct{ readOnly, folded bool }{{true, true}, {false, false}, {false, true}} {
		b := beat{Boot: 1, Number: uint64(i + 1), Inc: 9, ReadOnly: c.readOnly, Vector: m}
		if i == 1 {
			b.Vector = 77 // with what it had heard
		}
		n.hear(n.core.subject.beat("b"), headed(&b, nil))
		if got := n.core.peers["b"].folded; got != c.folded {
			t.Errorf("after beat %d all that b has is folded: %v, want %v", i+1, got, c.folded)
		}
	}
}

// A host that is heard again has to be caught up with before it counts as known.
func TestBeats_whoIsHeardAgainIsFoldedAnew(t *testing.T) {
	n, _ := lone(t)
	m := markOf(n.ledger.View().Vector())
	for i, c := range []struct {
		after  time.Duration
		vector mark
		folded bool
	}{{0, m, true}, {2 * time.Second, 77, true}, {time.Minute, 78, false}, {2 * time.Second, m, true}} {
		n.sim.now = n.sim.now.Add(c.after)
		n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: uint64(i + 1), Inc: 9, Vector: c.vector}, nil))
		if got := n.core.status().Peers[0].Folded; got != c.folded {
			t.Errorf("after beat %d all that b has is folded: %v, want %v", i+1, got, c.folded)
		}
	}
}

// Where a link is cut one way, nobody waits for the answer of who cannot hear the question.
func TestNext_asksWhoHearsThisHost(t *testing.T) {
	n, said := lone(t)
	n.hear(n.core.subject.beat("c"), headed(&beat{Boot: 1, Number: 1, Vector: 7, Hears: []string{"a"}}, nil))
	n.core.pull, *said = nil, nil
	n.core.want = map[string]bool{"c": true}
	n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: 1, Vector: 8, Hears: []string{"c"}}, nil))
	if n.core.pull == nil || n.core.pull.peer != "c" || !n.core.want["b"] {
		t.Errorf("asked is %+v, want c, and b after it", n.core.pull)
	}
}

func pieceOf(id uint64, i, of int, body []byte) []byte {
	return headed(&part{id, "b", i, of}, body)
}

func TestParts_orderLossAndRepetition(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 3)
	for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}, {1, 1, 0, 0, 2}, {2, 2, 2, 1, 0}} {
		c := &core{}
		var got []byte
		for _, i := range order {
			if whole := c.whole(pieceOf(1, i, 3, want[i*10:i*10+10])); whole != nil {
				got = whole
			}
		}
		if !bytes.Equal(got, want) || c.parts.bytes != 0 || len(c.parts.of) != 0 {
			t.Errorf("in order %v: got %q, and %d bytes are kept", order, got, c.parts.bytes)
		}
	}
	c := &core{every: times{answer: 5 * time.Second}, now: simStart}
	c.whole(pieceOf(1, 0, 2, want))
	c.parts.bound(simStart.Add(time.Second))
	if len(c.parts.of) != 0 || c.parts.bytes != 0 {
		t.Errorf("a message of which a piece is lost is kept: %d bytes", c.parts.bytes)
	}
}

func TestParts_areBounded(t *testing.T) {
	c := &core{}
	for i := range uint64(2000) { // that claim to be of many pieces, and never come
		c.now = c.now.Add(time.Millisecond)
		c.whole(pieceOf(i, 0, 4096, []byte("x")))
	}
	if c.parts.bytes > partsMost || len(c.parts.of) > partsMost/(4096*pieceCost) {
		t.Errorf("%d messages of %d bytes wait for their pieces, want at most %d bytes", len(c.parts.of), c.parts.bytes, partsMost)
	}
	for _, odd := range []part{{1, "b", -1, 2}, {1, "b", 2, 2}, {1, "b", 0, 1}, {1, "b", 0, 1 << 30}} {
		if b := headed(&odd, []byte("x")); !bytes.Equal(c.whole(b), b) {
			t.Errorf("%+v is taken for a piece", odd)
		}
	}
}

func TestMarkOf_orderDoesNotMatterAndEveryHeadDoes(t *testing.T) {
	a := []projection.Head{{Inc: 1, Seq: 5, Hash: events.Hash{1}}, {Inc: 2, Seq: 7, Hash: events.Hash{2}}}
	b := []projection.Head{a[1], {Inc: 3}, a[0]}
	if markOf(a) != markOf(b) {
		t.Error("the order, or a head without events, makes another mark")
	}
	seen := map[mark]string{markOf(a): "the first"}
	for name, h := range map[string]projection.Head{"inc": {Inc: 4, Seq: 7, Hash: events.Hash{2}}, "seq": {Inc: 2, Seq: 8, Hash: events.Hash{2}},
		"hash": {Inc: 2, Seq: 7, Hash: events.Hash{3}}, "none": {}} {
		m := markOf([]projection.Head{a[0], h})
		if seen[m] != "" {
			t.Errorf("another %s has the mark of %s", name, seen[m])
		}
		seen[m] = name
	}
	b1, _ := markOf(a).MarshalText()
	var again mark
	if err := again.UnmarshalText(b1); err != nil || again != markOf(a) {
		t.Errorf("%s is read as %x, %v", b1, again, err)
	}
}

func TestSubjects_namesWithDots(t *testing.T) {
	s := subjects{"prod"}
	for subject, want := range map[string][2]string{
		s.commit("web.example.org"): {"commit", "web.example.org"}, s.beat("a"): {"beat", "a"}, s.host("x.y"): {"host", "x.y"},
		"swarm.1.other.log.beat.a": {}, "swarm.2.prod.log.beat.a": {}, "": {}, "swarm.1.prod.": {"", ""},
	} {
		if kind, node := s.read(subject); kind != want[0] || node != want[1] {
			t.Errorf("%q is read as %q of %q, want %q", subject, kind, node, want)
		}
	}
}

// asked has a host answer an ask for commits.
func askedFor(t *testing.T, n *node, said *[]message, q ask) *answer {
	t.Helper()
	*said = nil
	q.Ask, q.From, q.ID = askCommits, "b", 1
	n.hear(n.core.subject.host("a"), headed(&q, nil))
	c := &core{}
	for _, m := range *said {
		if m.subject != n.core.subject.host("b") {
			continue
		}
		if b := c.whole(m.data); b != nil {
			head, body := unhead(b)
			a := answer{body: body}
			if err := unmarshal(head, &a); err != nil {
				t.Fatal(err)
			}
			return &a
		}
	}
	t.Fatalf("there is no answer: %v", *said)
	return nil
}

func TestServe_pagesGoOnWhereTheLastEnded(t *testing.T) {
	n, said := lone(t)
	n.core.out.send = func(subject string, data []byte) { *said = append(*said, message{subject, data}) }
	sizes := []int{100, pageBytes - 500, 300, 600 << 10, 10, 10} // one alone is more than a page
	for i, size := range sizes {
		b := fmt.Appendf(nil, `{"value":%q}`, bytes.Repeat([]byte("x"), size))
		if _, ok := n.record("a test", projection.Change{Kind: events.Declared, Key: key(fmt.Sprint(i)), Object: b}); !ok {
			t.Fatal("not recorded")
		}
	}
	var got []uint64
	var record uint64
	for range 10 {
		a := askedFor(t, n, said, ask{Record: record})
		if len(a.body) > pageBytes && len(lines(a.body)) > 1 {
			t.Errorf("a page of %d bytes has %d commits", len(a.body), len(lines(a.body)))
		}
		for _, b := range lines(a.body) {
			c, err := events.ParseCommit(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, c.Seq)
		}
		if record = a.Record; !a.More {
			break
		}
	}
	if want := []uint64{1, 2, 3, 4, 5, 6}; !slices.Equal(got, want) {
		t.Errorf("the pages have %v, want %v", got, want)
	}
}

// What a host holds in memory alone it neither gives nor claims: who asks would take it for known.
func TestServe_claimsWhatIsOnDisk(t *testing.T) {
	n, _ := lone(t)
	empty := n.ledger.View().State
	n.full.Store(true)
	n.hear(n.core.subject.commit("b"), chain(t, 9, 1)[0])
	if n.ledger.View().Head(9).Seq != 1 {
		t.Fatal("with a full disk, what others say is not folded")
	}
	n.step(func() {
		a := n.core.serveCommits(&ask{Ask: askCommits, From: "c"})
		if len(a.body) != 0 || a.Vector != markOf(empty.Vector()) {
			t.Errorf("given are %d bytes, and claimed is %v, want none, and %v", len(a.body), a.Vector, markOf(empty.Vector()))
		}
		s := n.core.serveState(&ask{Ask: askState, From: "c"})
		if state, err := projection.DecodeState(bytes.NewReader(s.body)); err != nil || state.Head(9).Seq != 0 {
			t.Errorf("the state given holds event %d, which is not on disk (%v)", state.Head(9).Seq, err)
		}
	})
}

// Who waits until others hold a change waits for their disks.
func TestHold_answersOnceItIsOnDisk(t *testing.T) {
	n, said := lone(t)
	n.full.Store(true)
	n.hear(n.core.subject.commit("b"), chain(t, 9, 1)[0])
	ask := ask{Ask: askHolds, From: "c", ID: 1, Event: events.ID{Inc: 9, Seq: 1}, Within: time.Minute}
	*said = nil
	n.hear(n.core.subject.host("a"), headed(&ask, nil))
	if len(*said) != 0 {
		t.Errorf("with a full disk it is said to hold what is in memory: %s", (*said)[0].data)
	}
	n.room()
	n.step(func() {})
	if len(*said) != 1 || !bytes.Contains((*said)[0].data, []byte(`"holds":true`)) {
		t.Errorf("once it is on disk: %d answers, want one", len(*said))
	}
}

func TestServe_whatIsOffTheChainIsSaid(t *testing.T) {
	n, said := lone(t)
	for i := range 3 {
		n.record("a test", projection.Change{Kind: events.Declared, Key: key("x"), Object: fmt.Appendf(nil, `{"n":%d}`, i)})
	}
	own := n.log.Incarnation()
	head := n.ledger.View().Head(own)
	for name, c := range map[string]struct {
		have   point
		astray bool
		gives  int
	}{
		"the same":   {point{own, 3, head.Hash}, false, 0},
		"behind":     {point{own, 1, mustHash(t, n, 1)}, false, 2},
		"other hash": {point{own, 3, events.Hash{1}}, true, 0},
		"other tail": {point{own, 2, events.Hash{1}}, true, 0},
		"ahead":      {point{own, 9, events.Hash{1}}, false, 0},
		"all of it":  {point{own, 1<<64 - 1, events.Hash{}}, false, 0},
		"nothing":    {point{77, 1, events.Hash{}}, false, 3},
	} {
		a := askedFor(t, n, said, ask{Have: []point{c.have}})
		if (len(a.Astray) > 0) != c.astray || len(lines(a.body)) != c.gives {
			t.Errorf("%s: astray %v and %d commits, want %v and %d", name, a.Astray, len(lines(a.body)), c.astray, c.gives)
		}
	}
}

func mustHash(t *testing.T, n *node, seq uint64) (hash events.Hash) {
	err := n.log.Replay(1, func(r events.Record) error {
		if r.Seq == seq {
			hash = r.Hash
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// A clock that was set back between two starts does not make a host silent for those who hear it only through others.
func TestBeats_goOnAfterThoseThatOthersKnow(t *testing.T) {
	n, said := lone(t)
	told := uint64(n.core.started) + 3_600_000
	n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: 5, Told: map[string]uint64{"a": told}}, nil))
	*said = nil
	n.now = n.now.Add(time.Minute)
	n.step(n.core.tick)
	var b beat
	for _, m := range *said {
		if m.subject == n.core.subject.beat("a") {
			if err := unmarshal(m.data, &b); err != nil {
				t.Fatal(err)
			}
		}
	}
	if b.Number <= told {
		t.Errorf("the next beat is %d, want one after %d", b.Number, told)
	}
	n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: 6, Told: map[string]uint64{"a": 1<<64 - 1}}, nil))
	if got := n.core.pulse.number; got > b.Number+1 { // one more went to b, which is heard anew
		t.Errorf("nonsense has the beats go on from %d", got)
	}
}

// The younger of two agents of one name ends, whatever their clocks say.
func TestSecond_theYoungerEnds(t *testing.T) {
	for name, c := range map[string]struct {
		up   time.Duration
		ends bool
	}{"the other is older, and its clock fast": {time.Hour, true}, "the other is younger, and its clock slow": {time.Second, false}} {
		n, _ := lone(t)
		n.step(func() {})
		n.now = n.now.Add(time.Minute)
		started := n.core.started + 3_600_000
		if !c.ends {
			started = n.core.started - 3_600_000
		}
		for range 2 {
			n.core.step(context.Background(), n.now, func() {
				n.core.onBeat("a", headed(&beat{Boot: 1, Started: started, Up: c.up.Milliseconds()}, nil))
			})
		}
		if got := n.core.fatal != nil; got != c.ends {
			t.Errorf("%s: it ends: %v (%v), want %v", name, got, n.core.fatal, c.ends)
		}
	}
}

// A state that does not make two hosts agree is taken over ever more rarely: each time is a record of all of it.
func TestCompare_unequalIsNotTriedForEver(t *testing.T) {
	n, said := lone(t)
	n.record("a test", projection.Change{Kind: events.Declared, Key: key("x"), Object: []byte(`{}`)})
	n.run(10 * time.Second)
	asks := 0
	m := markOf(n.ledger.View().Vector())
	for i := range 1800 { // an hour
		n.now = n.now.Add(2 * time.Second)
		*said = nil
		n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: uint64(i), Vector: m, Digest: "another"}, nil))
		for _, m := range *said {
			if bytes.Contains(m.data, []byte(`"ask":"state"`)) {
				asks++
			}
		}
		n.core.transfer = nil // it helps nothing
	}
	if asks < 2 || asks > 10 {
		t.Errorf("the state is asked for %d times in an hour", asks)
	}
	if n.core.counts.Unequal != 1 {
		t.Errorf("it is counted %d times", n.core.counts.Unequal)
	}
}

// Where two hosts have the same commits and another state, the first object that differs is named as soon as that is known, and no longer
// than they differ.
func TestCompare_namesTheFirstThatDiffers(t *testing.T) {
	other, _ := lone(t)
	for _, name := range []string{"a", "c", "d"} {
		other.record("a test", projection.Change{Kind: events.Declared, Key: key(name), Object: []byte(`{}`)})
	}
	n, said := lone(t)
	n.step(func() {
		if err := n.ledger.Join(t.Context(), other.ledger.View().State, "to begin with the same"); err != nil {
			t.Fatal(err)
		}
	})
	other.record("a test", projection.Change{Kind: events.Declared, Key: key("c"), Object: []byte(`{"n":1}`)})
	other.record("a test", projection.Change{Kind: events.Declared, Key: key("b"), Object: []byte(`{}`)})
	n.run(10 * time.Second)
	*said = nil
	number := uint64(0)
	beats := func(digest string) string {
		number++
		n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: number, Vector: markOf(n.ledger.View().Vector()), Digest: digest}, nil))
		p := n.core.status().Peers[0]
		if p.Differs != (digest != "") {
			t.Errorf("differs: %v", p.Differs)
		}
		return p.Parts
	}
	if got := beats("another"); got != "" {
		t.Errorf("before its state has come: %q", got)
	}
	var state bytes.Buffer
	if err := other.ledger.View().Encode(&state); err != nil {
		t.Fatal(err)
	}
	for _, m := range *said {
		var q ask
		if json.Unmarshal(m.data, &q) == nil && q.Ask == askState {
			n.hear(n.core.subject.host(n.core.node), headed(&answer{Answer: askState, From: "b", ID: q.ID, Whole: 7, Size: state.Len()}, state.Bytes()))
		}
	}
	if got := n.core.status().Peers[0].Parts; got != key("b") {
		t.Errorf("named is %q, want %q", got, key("b"))
	}
	if got := beats(""); got != "" {
		t.Errorf("still named: %q", got)
	}
}

// Two hosts that differ find that out while changes go on without end, so that no vector ever stands for a beat: what each was like at a
// moment is told now and then, and compared with what this host was like when it had come as far.
func TestCompare_underLoad(t *testing.T) {
	n, said := lone(t)
	change := func(i int) {
		n.record("a test", projection.Change{Kind: events.Declared, Key: key("x"), Object: fmt.Appendf(nil, `{"n":%d}`, i)})
	}
	told := 0
	var then *projection.State
	for i := range 61 {
		n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: uint64(i + 1), Hears: []string{n.core.node}}, nil)) // it is not alone
		change(i)
		if i == 50 {
			then = n.ledger.View().State
		}
		n.run(time.Second)
		for _, m := range *said {
			var b beat
			if m.subject == n.core.subject.beat(n.core.node) && unmarshal(m.data, &b) == nil && b.Digest != "" && i > 0 {
				told++
			}
		}
		*said = nil
	}
	if told < 2 || told > 3 {
		t.Errorf("in a minute the digest was told %d times, want it every %v", told, n.core.every.sync)
	}
	for i, digest := range []string{then.Digest()[:16], "another"} {
		n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: uint64(i + 100), Vector: markOf(then.Vector()), Digest: digest}, nil))
		if got := n.core.status().Peers[0].Differs; got != (digest == "another") {
			t.Errorf("digest %s of some changes ago: differs %v", digest, got)
		}
		n.now = n.now.Add(time.Minute)
	}
	n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: 999, Vector: markOf(n.ledger.View().Vector())}, nil))
	if got := n.core.status().Peers[0].Agrees; !got.IsZero() {
		t.Errorf("of what is not known it is said that it agrees, since %v", got)
	}
}

// A later format holds up its own stream, is named, and is not sent again and again.
func TestUnread_aLaterFormatIsNotAskedForAgain(t *testing.T) {
	n, said := lone(t)
	n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: 1, Inc: 0xf00, Seq: 1, Vector: 1}, nil))
	n.hear(n.core.subject.commit("b"), []byte(`{"v":2,"inc":"0000000000000f00","seq":1,"new":[1]}`))
	if n.core.problems["unread 0000000000000f00"] == nil {
		t.Fatalf("it is not named: %v", n.core.problems)
	}
	*said = nil
	n.step(func() { n.core.askCommits("b", nil) })
	if len(*said) == 0 || !bytes.Contains((*said)[0].data, []byte(`{"i":"0000000000000f00","s":18446744073709551615`)) {
		t.Errorf("asked is %s", (*said)[0].data)
	}
}

// What was missed of a host before it began to write in a later format is asked for, though the later was heard first: until it is here that host holds
// something that is lacked, and what it deleted is among it.
func TestUnread_whatCameBeforeALaterFormatIsAskedFor(t *testing.T) {
	n, said := lone(t)
	var log bytes.Buffer
	n.core.say = slog.New(slog.NewTextHandler(&log, nil))
	all := chain(t, 9, 6)
	for _, b := range all[:2] {
		n.hear(n.core.subject.commit("b"), b)
	}
	upgraded := func(seq int) []byte {
		return fmt.Appendf(nil, `{"v":2,"inc":"0000000000000009","seq":%d,"new":[1]}`, seq)
	}
	for _, seq := range []int{8, 7, 9} {
		n.hear(n.core.subject.commit("b"), upgraded(seq))
	}
	if lines := strings.Count(log.String(), "cannot be read"); lines != 1 || n.core.counts.Unreadable != 3 {
		t.Errorf("of %d commits of a later format it tells in %d lines, want one:\n%s", n.core.counts.Unreadable, lines, &log)
	}
	for i, c := range []struct {
		have   string
		comes  [][]byte
		folded bool
	}{
		{`"s":2`, append(slices.Clone(all[2:]), upgraded(7), upgraded(8)), false},
		{`"s":18446744073709551615`, nil, true},
	} {
		n.sim.now = n.sim.now.Add(3 * time.Second)
		*said = nil
		n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: uint64(i + 1), Inc: 9, Seq: 9, Vector: 1}, nil))
		asks := func(m message) bool { return bytes.Contains(m.data, []byte(`{"i":"0000000000000009",`+c.have)) }
		if n.core.pull == nil || !slices.ContainsFunc(*said, asks) {
			t.Fatalf("%d: it asks %s, want it to have %s", i, *said, c.have)
		}
		n.hear(n.core.subject.host("a"), headed(&answer{Answer: askCommits, From: "b", ID: n.core.pull.id, Vector: 1}, bytes.Join(c.comes, []byte("\n"))))
		if got := n.core.peers["b"].folded; got != c.folded || n.ledger.View().Head(9).Seq != 6 {
			t.Errorf("%d: all that b has is folded: %v, want %v, and event %d", i, got, c.folded, n.ledger.View().Head(9).Seq)
		}
	}
}
