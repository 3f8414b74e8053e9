package sync

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// recordedAgain is what a host records again that gives up what comes after an event.
func recordedAgain(t *testing.T, commits [][]byte, inc events.Incarnation, after uint64) (all [][]byte) {
	t.Helper()
	ctx := context.Background()
	n, _ := lone(t)
	if _, err := n.ledger.Admit(ctx, commits); err != nil {
		t.Fatal(err)
	}
	if err := n.ledger.GiveUp(ctx, inc, after, "a fork"); err != nil {
		t.Fatal(err)
	}
	if err := n.log.Replay(1, func(r events.Record) error {
		if r.Inc != 0 && r.Inc != inc {
			all = append(all, bytes.Clone(r.Payload))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// What others have recorded again tells that it is given up, whatever has become of what stands in its place.
func TestForgo_whatOthersHaveGivenUp(t *testing.T) {
	commits := chain(t, 9, 4)
	again := recordedAgain(t, commits[:3], 9, 1)
	n, said := lone(t)
	n.step(func() { n.core.take(arrivals(commits, "", false)) })
	n.core.seen.add(77, passed{})
	n.step(func() { n.core.take(arrivals(again, "", false)) })
	s := n.ledger.View().State
	to := events.Incarnation(0)
	if c, err := events.ParseCommit(again[0]); err == nil {
		to = c.Inc
	}
	if s.Head(9).Seq != 1 || s.Head(to).Seq != 3 || s.Len() != 4 {
		t.Errorf("it holds %d events of what is given up and %d that are recorded again, want 1 and all 3", s.Head(9).Seq, s.Head(to).Seq)
	}
	if _, ok := n.core.seen.at[77]; ok || n.core.counts.Forks != 1 {
		t.Errorf("it takes for nothing what others have in its place; %d forks", n.core.counts.Forks)
	}
	// A host that has not heard of that has it still, and goes on.
	*said = nil
	n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: 1, Inc: 9, Seq: 4, Vector: 5}, nil))
	for range 50 {
		n.now = n.now.Add(10 * time.Millisecond)
		n.step(n.core.tick)
		asked := slices.Clone(*said)
		*said = nil
		for _, m := range asked {
			var q ask
			if json.Unmarshal(m.data, &q) != nil || q.Ask != askCommits {
				continue
			}
			a := answer{Answer: askCommits, From: "b", ID: q.ID, Vector: 5}
			if i := slices.IndexFunc(q.Have, func(p point) bool { return p.Inc == 9 }); q.Have[i].Seq < 4 {
				a.body = bytes.Join(commits[1:], []byte("\n"))
			}
			n.hear(n.core.subject.host("a"), headed(&a, a.body))
		}
	}
	if asked := n.core.counts.Asked; asked == 0 || asked > 3 || n.ledger.View().Head(9).Seq != 1 {
		t.Errorf("in half a second it asks %d times for what is given up, and holds it up to %d", asked, n.ledger.View().Head(9).Seq)
	}
	if _, ok := n.core.seen.at[5]; ok {
		t.Error("it takes it that who has that has nothing else that it lacks")
	}
	if n.core.stash.bytes > 0 {
		t.Error("what follows on that is kept")
	}
	n.now = n.now.Add(n.core.every.answer)
	n.step(n.core.tick)
	if len(n.core.forgone) != 0 {
		t.Error("it never asks again for what stands")
	}
}

// sick is a ledger of which some things cannot be had.
type sick struct {
	Ledger
	forgone, late, giveUp error
	givesUp               func() // called before giveUp is returned
	looked, again         int    // how often was looked for what others have given up, and for what they have said of it
}

func (l *sick) Forgone(ctx context.Context) (events.Incarnation, uint64, bool, error) {
	if l.looked++; l.forgone != nil {
		return 0, 0, false, l.forgone
	}
	return l.Ledger.Forgone(ctx)
}

func (l *sick) Late(ctx context.Context) (int, error) {
	if l.again++; l.late != nil {
		return 0, l.late
	}
	return l.Ledger.Late(ctx)
}

func (l *sick) GiveUp(ctx context.Context, inc events.Incarnation, seq uint64, cause string) error {
	if l.giveUp != nil {
		if l.givesUp != nil {
			l.givesUp()
		}
		return l.giveUp
	}
	return l.Ledger.GiveUp(ctx, inc, seq, cause)
}

// problems are what is wrong with a host, and what to do.
func (n *node) problems() (all []string) {
	for _, p := range n.core.status().Problems {
		all = append(all, p.What+" | "+p.Do)
	}
	return all
}

// A log that cannot be read now is no fork, and nobody is told to move it away for that.
func TestForgo_cannotBeFoundOut(t *testing.T) {
	commits := chain(t, 9, 4)
	again := recordedAgain(t, commits, 9, 1)
	n, _ := lone(t)
	ledger := &sick{Ledger: n.ledger, forgone: errors.New("the disk does not answer")}
	n.core.ledger = ledger
	n.step(func() { n.core.take(arrivals(append(commits, again...), "", false)) })
	for range 3 {
		n.step(n.core.tick)
	}
	if got := n.problems(); got != nil || ledger.looked != 1 {
		t.Errorf("it is told %q, after %d looks", got, ledger.looked)
	}
	for n.now.Sub(simStart) <= n.core.every.stands+n.core.every.sync { // by then it is told that this lasts
		if n.now.Sub(simStart) < n.core.every.stands && n.problems() != nil {
			t.Errorf("after %v it is told %q", n.now.Sub(simStart), n.problems())
		}
		n.now = n.now.Add(n.core.every.sync)
		n.step(n.core.tick)
	}
	if got := n.problems(); len(got) != 1 || !strings.Contains(got[0], "cannot be found out: the disk does not answer") || strings.Contains(got[0], "move") {
		t.Errorf("when that lasts it is told %q", got)
	}
	ledger.forgone = nil
	looked := ledger.looked
	n.now = n.now.Add(n.core.every.sync)
	if n.step(n.core.tick); n.problems() != nil || ledger.looked == looked || n.ledger.View().Head(9).Seq != 1 {
		t.Errorf("after %d looks it holds event %d of what others have given up", ledger.looked, n.ledger.View().Head(9).Seq)
	}
}

// That what others have given up could not be given up is told no longer once nothing of it is held, however that came.
func TestForgo_isSolvedAnotherWay(t *testing.T) {
	commits := chain(t, 9, 4)
	again := recordedAgain(t, commits, 9, 1)
	n, _ := lone(t)
	ledger := &sick{Ledger: n.ledger, giveUp: errors.New("it cannot")}
	n.core.ledger = ledger
	n.step(func() { n.core.take(arrivals(append(commits, again...), "", false)) })
	if got := n.problems(); len(got) != 1 || !strings.Contains(got[0], "a fork of incarnation 0000000000000009 cannot be ended: it cannot") {
		t.Errorf("it is told %q", got)
	}
	if err := n.ledger.GiveUp(context.Background(), 9, 1, "as a comparison of chains has it"); err != nil {
		t.Fatal(err)
	}
	n.now = n.now.Add(n.core.every.sync)
	if n.step(n.core.tick); n.problems() != nil {
		t.Errorf("it is told still %q", n.problems())
	}
}

// On a full disk a fork waits for room, and a host that ends has nothing to tell; only who has neither has to move its log away.
func TestUnended_saysWhatHelps(t *testing.T) {
	commits := chain(t, 9, 4)
	again := recordedAgain(t, commits, 9, 1)
	for _, c := range []struct {
		err error
		do  string // "": nobody has to do anything
	}{
		{fmt.Errorf("append: %w", events.ErrFull), "make room on the disk of this host"},
		{projection.ErrEntangled, "move its events folder aside and start it: the others tell it their state; what it alone recorded is in that folder, apply that again"},
		{projection.ErrClosed, ""},
		{context.Canceled, ""},
	} {
		for what, fork := range map[string]func(n *node){
			"others have given it up": func(n *node) { n.core.take(arrivals(again, "", false)) },
			"two chains part":         func(n *node) { n.core.part(&search{peer: "b", inc: 9, common: 1}, events.Hash{2}, events.Hash{1}) },
		} {
			if what == "two chains part" && errors.Is(c.err, projection.ErrEntangled) {
				continue // then the other's state is taken over
			}
			n, _ := lone(t)
			ledger := &sick{Ledger: n.ledger, giveUp: errors.New("another")}
			n.core.ledger = ledger
			n.step(func() { n.core.take(arrivals(commits, "", false)) })
			if c.do != "" { // what helps may change
				n.step(func() { fork(n) })
				n.now = n.now.Add(n.core.every.sync)
			}
			ledger.giveUp = c.err
			ctx, cancel := context.WithCancel(t.Context())
			if errors.Is(c.err, context.Canceled) {
				ledger.givesUp = cancel
			}
			n.core.step(ctx, n.now, func() { fork(n) })
			cancel()
			switch got := n.problems(); {
			case c.do == "" && got != nil, c.do != "" && (len(got) != 1 || !strings.Contains(got[0], c.err.Error()) || !strings.Contains(got[0], c.do)):
				t.Errorf("%s, and %v: it is told %q, want %q", what, c.err, got, c.do)
			}
		}
	}
}

// What was said of what is trimmed off the log and cannot be read any more is looked for once, and not for ever.
func TestSayAgain_whatIsTrimmedIsLookedForOnce(t *testing.T) {
	n, _ := lone(t)
	ledger := &sick{Ledger: n.ledger, late: fmt.Errorf("record 1: %w", events.ErrTrimmed)}
	n.core.ledger = ledger
	look := func(late error) int {
		ledger.late, ledger.again, n.core.lateSaid = late, 0, true
		for range 3 {
			n.now = n.now.Add(n.core.every.sync)
			n.step(n.core.tick)
		}
		return ledger.again
	}
	if got := look(ledger.late); got != 1 {
		t.Errorf("of a trimmed log it is looked for %d times, want once", got)
	}
	if got := look(errors.New("another")); got != 3 {
		t.Errorf("of one that cannot be read now it is looked for %d times, want 3", got)
	}
	for n.now.Sub(simStart) <= 2*n.core.every.stands+n.core.every.sync {
		look(errors.New("another"))
	}
	if got := n.problems(); len(got) != 1 || !strings.Contains(got[0], "cannot be recorded again: another") {
		t.Errorf("when that lasts it is told %q", got)
	}
	if look(nil); n.problems() != nil {
		t.Errorf("when it can it is told still %q", n.problems())
	}
}

// Whose chain is given up already does not stand, though its hash is the smaller.
func TestPart_whatIsGivenUpDoesNotStand(t *testing.T) {
	commits := chain(t, 9, 2)
	n, said := lone(t)
	n.step(func() { n.core.take(arrivals(recordedAgain(t, commits, 9, 1), "", false)) })
	n.step(func() { n.core.take(arrivals(commits[:1], "", false)) })
	stands := inPlaceOf(t, commits[1])
	n.step(func() { n.core.take(arrivals([][]byte{stands}, "", false)) })
	*said = nil
	n.step(func() {
		n.core.part(&search{peer: "b", inc: 9, common: 1}, events.Hash{0xff}, events.HashOf(commits[1]))
	})
	if got := n.ledger.View().Head(9).Hash; got != events.HashOf(stands) || len(*said) != 0 {
		t.Errorf("it holds %v and says %d messages, want what stands and nothing", got, len(*said))
	}
}

// Hosts whose states differ fold anew what they hold; only who cannot, or is not helped by it, takes over the other's.
func TestEven_foldsAnew(t *testing.T) {
	x := events.ID{Inc: 7, Seq: 1}
	commit := func(inc events.Incarnation, at events.Time, e events.Event) []byte {
		t.Helper()
		e.Kind, e.UID, e.Object = events.Declared, x, []byte(`{}`)
		c := events.Commit{Inc: inc, Seq: 1, Time: at, Events: []events.Event{e}}
		b, err := c.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// The number was another object's when it was changed.
	of9 := commit(9, 20, events.Event{Key: key("x"), Base: events.Stamp{Time: 5, ID: x}})
	of7 := commit(7, 10, events.Event{Key: key("y")})
	n, said := lone(t)
	n.step(func() { n.core.take(arrivals([][]byte{of9, of7}, "", false)) })
	m := markOf(n.ledger.View().Vector())
	n.step(func() { n.core.digest(m, n.ledger.View().State) })
	before := n.ledger.View().Digest()
	states := 0
	for i := range 150 { // 5 minutes
		n.now = n.now.Add(2 * time.Second)
		*said = nil
		n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: uint64(i + 1), Vector: m, Digest: "another"}, nil))
		for _, m := range *said {
			if bytes.Contains(m.data, []byte(`"ask":"state"`)) {
				if states++; n.now.Sub(simStart) < 2*n.core.every.sync {
					t.Errorf("after %v the other's state is asked for", n.now.Sub(simStart))
				}
			}
		}
		if n.core.transfer != nil && !n.core.transfer.even {
			t.Error("it does not know what the state is for")
		}
		n.core.transfer = nil
		n.step(n.core.tick)
		n.step(func() { n.core.digest(m, n.ledger.View().State) })
		if i == 0 && (n.ledger.View().Digest() == before || n.core.digests[m] != n.ledger.View().Digest()[:16]) {
			t.Error("nothing is folded anew, or it is told of as it was")
		}
	}
	if states == 0 {
		t.Error("though they go on differing, the other's state is not asked for")
	}
}

// A state that is asked for since it differs must not make of a log one that does not hold all of its own state.
func TestOnState_whatIsLackedComesFromLogs(t *testing.T) {
	other, _ := lone(t)
	other.step(func() { other.core.take(arrivals(chain(t, 9, 2), "", false)) })
	var state bytes.Buffer
	if err := other.ledger.View().Encode(&state); err != nil {
		t.Fatal(err)
	}
	n, _ := lone(t)
	n.step(func() { n.core.take(arrivals(chain(t, 9, 1), "", false)) })
	// What a state is, comes in pieces, each of which is told of: whoever waits for it is not to take that for silence.
	n.core.transfer = &transfer{peer: "b", id: 1}
	half := state.Len() / 2
	for id, want := range []uint64{0, 1, 1, 1} { // one of an answer that is not waited for changes nothing
		n.step(func() {
			n.core.onState(&answer{Answer: askState, From: "b", ID: uint64(id), Whole: 7, Size: state.Len(), body: state.Bytes()[:half]})
		})
		if got := n.core.status().Counts.Pieces; got != want {
			t.Errorf("after answer %d, %d pieces have come, want %d", id, got, want)
		}
	}
	for _, even := range []bool{true, false} {
		n.core.transfer = &transfer{peer: "b", id: 1, even: even}
		n.step(func() {
			n.core.onState(&answer{Answer: askState, From: "b", ID: 1, Whole: 7, Size: state.Len(), body: state.Bytes()})
			if !n.core.want["b"] {
				t.Error("the other is not asked for more")
			}
		})
		if took := n.ledger.View().Head(9).Seq == 2; took == even {
			t.Errorf("taken over: %v", took)
		}
	}
}

// inPlaceOf is another commit of the same number.
func inPlaceOf(t *testing.T, commit []byte) []byte {
	t.Helper()
	c, err := events.ParseCommit(commit)
	if err != nil {
		t.Fatal(err)
	}
	c.Cause = "in its place"
	other, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return other
}
