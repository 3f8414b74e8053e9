package sync

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Agents of adjacent versions work together. What two agents of format 1 said to each other is kept in testdata/format1:
// every later version must be understood by either of them, and understand both. It is a record rather than an agent of
// an older commit, since a clone need not have that commit, and has no way to build it without the network.

var record = flag.Bool("record", false, "write testdata/format1 anew: only while no agent of that format is in use")

const (
	format1     = "testdata/format1/conversation.txt"
	format1Time = "2026-01-02T03:04:05Z"
)

// voice is a host that says what it is made to say, and hears what it is told.
type voice struct {
	*core
	t    *testing.T
	said []message
	now  time.Time
}

// newVoice makes the host "old", which holds three commits, or "new", which holds none. Nothing of them is random.
func newVoice(t *testing.T, name string) *voice {
	t.Helper()
	at, err := time.Parse(time.RFC3339, format1Time)
	if err != nil {
		t.Fatal(err)
	}
	inc := events.Incarnation(0x1111)
	if name == "new" {
		inc = 0x2222
	}
	v := &voice{t: t, now: at}
	clock := func() time.Time { return v.now }
	log, err := events.Open(t.TempDir(), events.Options{Reserve: -1, MinFree: 1, Now: clock, Draw: func() events.Incarnation { return inc }})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := projection.OpenLedger(log, nil, 1, clock)
	if err != nil {
		t.Fatal(err)
	}
	ledger.Node = name
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- ledger.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
		log.Close()
	})
	out := &sender{node: name, send: func(subject string, data []byte) { v.said = append(v.said, message{subject, data}) }}
	v.core = newCore(name, uint64(inc), at.UnixMilli(), times{2 * time.Second, 5 * time.Second, 30 * time.Second, 5 * time.Second, time.Minute},
		ledger, log, out, slog.New(slog.DiscardHandler))
	v.wall, v.subject, v.about = clock, subjects{"swarm"}, answer{Version: "1", Address: name + ":7946"}
	if name == "old" {
		for _, object := range []string{`{"a":1}`, `{"a":2}`, `{"a":3}`} {
			_, err := ledger.Record(t.Context(), projection.By{Actor: "somebody", Cause: "apply"}, func(*projection.State) ([]projection.Change, error) {
				return []projection.Change{{Kind: events.Declared, Key: "deployment/default/" + object[5:6], Object: json.RawMessage(object)},
					{Kind: events.Observed, Key: "later-kind/x", Object: json.RawMessage(object)}}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return v
}

func (v *voice) do(what func()) { v.step(v.t.Context(), v.now, what) }

func (v *voice) hears(m message) { v.do(func() { v.receive([]message{m}) }) }

// beats says one beat of each kind: all, without the digest; where it stands; all, with it; and that nothing has changed.
func (v *voice) beats() {
	for range beatsSaid {
		v.do(v.sendBeat)
	}
}

const beatsSaid = 4

// take gives what was said, and forgets it.
func (v *voice) take() []message {
	said := v.said
	v.said = nil
	return said
}

// asks is everything that can be asked of "old", as "new" would ask it.
func asks(old *voice) (all []ask) {
	head := old.ledger.View().Head(0x1111)
	known := point{0x1111, head.Seq, head.Hash}
	return []ask{{Ask: askHello}, {Ask: askCommits}, {Ask: askCommits, Have: []point{known}},
		{Ask: askChain, Inc: 0x1111, Points: []point{known}}, {Ask: askHolds, Event: events.ID{Inc: 0x1111, Seq: 1}, Within: time.Minute}, {Ask: askState}}
}

// recorded are the messages of the conversation: "old" beats, "new" asks, "old" answers.
func recorded(t *testing.T) (all []message) {
	t.Helper()
	if *record {
		old := newVoice(t, "old")
		old.beats()
		all = old.take()
		for i, q := range asks(old) {
			q.From, q.ID = "new", uint64(i+1)
			m := message{old.subject.host("old"), headed(&q, nil)}
			old.hears(m)
			all = append(append(all, m), old.take()...)
		}
		var b bytes.Buffer
		for _, m := range all {
			fmt.Fprintf(&b, "%s %q\n", m.subject, m.data)
		}
		if err := os.WriteFile(format1, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(format1)
	if err != nil {
		t.Fatal(err)
	}
	all = nil
	for line := range strings.Lines(string(b)) {
		var m message
		if _, err := fmt.Sscanf(line, "%s %q", &m.subject, &m.data); err != nil {
			t.Fatalf("%s: %v", format1, err)
		}
		all = append(all, m)
	}
	return all
}

// fields are those of a message's header.
func fields(t *testing.T, data []byte) (f map[string]any, body []byte) {
	t.Helper()
	head, body := unhead(data)
	if err := json.Unmarshal(head, &f); err != nil {
		t.Fatalf("%q: %v", head, err)
	}
	return f, body
}

// fromLater is the message as a later version may say it, which knows more.
func fromLater(t *testing.T, m message) message {
	f, body := fields(t, m.data)
	f["later"] = map[string]any{"x": []int{1}}
	return message{m.subject, headed(f, body)}
}

// An agent of today answers what an agent of format 1 asks, with all that it then said.
func TestFormat1_askedAsThen(t *testing.T) {
	all := recorded(t)
	for _, change := range []func(*testing.T, message) message{func(_ *testing.T, m message) message { return m }, fromLater} {
		old := newVoice(t, "old")
		old.beats()
		for _, want := range all {
			f, body := fields(t, want.data)
			if f["ask"] != nil {
				old.hears(change(t, want))
				continue
			}
			if len(old.said) == 0 {
				t.Fatalf("it says nothing where format 1 said %s", want.data)
			}
			got := old.said[0]
			old.said = old.said[1:]
			said, gotBody := fields(t, got.data)
			for name := range f {
				if name != "whole" && !reflect.DeepEqual(said[name], f[name]) { // of its own choice
					t.Errorf("%s: field %q is %v, in format 1 it was %v", got.subject, name, said[name], f[name])
				}
			}
			if f["answer"] != askState && !bytes.Equal(gotBody, body) || got.subject != want.subject {
				t.Errorf("%s: got %s, in format 1 it was %s: %s", got.subject, gotBody, want.subject, body)
			}
		}
	}
}

// An agent of today learns from one of format 1, or of a later version, all that it holds.
func TestFormat1_heardAsThen(t *testing.T) {
	all := recorded(t)
	answers := map[string]message{}
	for _, m := range all {
		if f, body := fields(t, m.data); f["answer"] != nil && (f["answer"] != askCommits || len(body) > 0) {
			answers[f["answer"].(string)] = m
		}
	}
	want := newVoice(t, "old").ledger.View()
	for _, change := range []func(*testing.T, message) message{func(_ *testing.T, m message) message { return m }, fromLater} {
		v := newVoice(t, "new")
		v.hears(message{v.subject.log()[:len(v.subject.log())-1] + "shout.old", []byte(`{"later":1}`)})
		v.hears(message{v.subject.host("new"), []byte(`{"ask":"later","from":"old","id":1}`)})
		v.hears(message{v.subject.host("new"), []byte(`{"answer":"later","from":"old","id":1}`)})
		if said := v.take(); len(said) > 0 {
			t.Errorf("it answers what it cannot know: %s", said[0].data)
		}
		for _, m := range all[:beatsSaid] {
			v.hears(change(t, m))
		}
		asked := map[string]bool{}
		for said := v.take(); len(said) > 0; said = v.take() {
			for _, m := range said {
				f, _ := fields(t, m.data)
				what, _ := f["ask"].(string)
				asked[what] = true
				m, ok := answers[what]
				if !ok {
					continue
				}
				a, body := fields(t, m.data)
				a["id"] = f["id"]
				v.hears(change(t, message{m.subject, headed(a, body)}))
			}
		}
		got := v.ledger.View()
		if got.Digest() != want.Digest() || !asked[askHello] || !asked[askCommits] {
			t.Errorf("it asked for %v, and has folded %v, want %v", asked, got.Vector(), want.Vector())
		}
		if p := v.peers["old"]; p == nil || p.version != "1" || p.address != "old:7946" || v.counts.Unreadable > 0 {
			t.Errorf("it knows of the other %+v, and could not read %d messages", p, v.counts.Unreadable)
		}
		// What comes by itself, without being asked for.
		w := newVoice(t, "new")
		_, body := fields(t, answers[askCommits].data)
		w.hears(message{w.subject.commit("old"), body})
		if w.ledger.View().Digest() != want.Digest() {
			t.Errorf("of commits as they were published, it has folded %v, want %v", w.ledger.View().Vector(), want.Vector())
		}
		// And its state, taken over whole.
		x := newVoice(t, "new")
		_, body = fields(t, answers[askState].data)
		s, err := projection.DecodeState(bytes.NewReader(body))
		if err == nil {
			err = x.ledger.(*projection.Ledger).Join(t.Context(), s, "a test")
		}
		if err != nil || x.ledger.View().Head(0x1111) != want.Head(0x1111) {
			t.Errorf("of a state as it was given, it has folded %v, want %v: %v", x.ledger.View().Vector(), want.Vector(), err)
		}
	}
}
