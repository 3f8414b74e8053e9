package sync

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// The conversation of format 1 is that of two hosts at rest. What it does not come to is kept here as text, each message beside
// what it means: it must be read as that, also with what a later version may add, and be said in the very same bytes.

const (
	headHash  = "692be32f9d5337d6790fa22c79a4f908d513ca2081bdfa3082824063cd0817ec" // of the last commit of "old"
	beganHash = "bc90dbeac4b8ac7b0a19dc0e3666fb9df795f2fa8d2d69ed67465fec88d67625" // of its first

	// In this beat all is said that one can say of itself.
	format1Beat = `{"n":1767323045003,"i":"0000000000001111","s":6,"x":"` + headHash + `","v":"fc87528d96db15c4","d":"e5f983eab27208de","b":4369,"t":1767323045000,"u":31000,` +
		`"e":{"i":"0000000000001111","s":2,"h":"` + beganHash + `"},"r":true,"o":true,"h":["a","c"],"w":["c"],"g":{"a":9,"c":7}}`
	// And these refer to it: from one to the next, whom it hears late and tells of may change, and where it stands.
	format1Same  = `{"n":1767323045005,"as":2,"w":["a"],"g":{"a":10}}`
	format1Moved = `{"n":1767323045007,"as":4,"i":"0000000000002222","s":8,"x":"` + beganHash + `","v":"00000000000000ff","d":"0123456789abcdef"}`
)

func hashOf(t *testing.T, text string) (h events.Hash) {
	t.Helper()
	if err := h.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return h
}

// wholeBeat is what format1Beat means.
func wholeBeat(t *testing.T) beat {
	return beat{Number: 1767323045003, Inc: 0x1111, Seq: 6, Hash: hashOf(t, headHash), Vector: 0xfc87528d96db15c4, Digest: "e5f983eab27208de", Boot: 0x1111,
		Started: 1767323045000, Up: (31 * time.Second).Milliseconds(), Began: point{0x1111, 2, hashOf(t, beganHash)}, Starting: true, ReadOnly: true,
		Hears: []string{"a", "c"}, Waits: []string{"c"}, Told: map[string]uint64{"a": 9, "c": 7}}
}

// andMore is a message as a later version may say it, which knows more.
func andMore(text string) string {
	header, body, found := strings.Cut(text, "\n")
	if found {
		body = "\n" + body
	}
	return strings.TrimSuffix(header, "}") + `,"later":{"x":[1]}}` + body
}

func TestFormat1_subjects(t *testing.T) {
	s := subjects{"shop"}
	for _, c := range []struct{ got, want, kind string }{
		{s.commit("b.example"), "swarm.1.shop.log.commit.b.example", "commit"},
		{s.beat("b.example"), "swarm.1.shop.log.beat.b.example", "beat"},
		{s.host("b.example"), "swarm.1.shop.host.b.example", "host"},
	} {
		if kind, node := s.read(c.want); c.got != c.want || kind != c.kind || node != "b.example" {
			t.Errorf("%s is said on %s and read as %s of %s, in format 1 it was on %s", c.kind, c.got, kind, node, c.want)
		}
	}
	if got := s.log(); got != "swarm.1.shop.log.>" {
		t.Errorf("commits and beats are heard on %s", got)
	}
}

// A host of today says all of a beat as one of format 1 did, of the same things, and reads it so.
func TestFormat1_beats(t *testing.T) {
	old := newVoice(t, "old")
	old.began = point{0x1111, 2, hashOf(t, beganHash)}
	old.ready = func() (starting, readOnly bool) { return true, true }
	old.do(func() {})
	old.now = old.now.Add(28 * time.Second)
	old.hears(message{"swarm.1.swarm.log.beat.c", []byte(`{"n":7,"i":"000000000000000c","v":"fc87528d96db15c4","b":3}`)})
	old.now = old.now.Add(3 * time.Second) // so the next of c is overdue, and a does not say to hear it
	old.hears(message{"swarm.1.swarm.log.beat.a", []byte(`{"n":9,"i":"000000000000000a","v":"fc87528d96db15c4","b":1,"h":["old"]}`)})
	old.take()
	if old.do(old.sendBeat); len(old.said) != 1 || old.said[0].subject != "swarm.1.swarm.log.beat.old" || string(old.said[0].data) != format1Beat {
		t.Errorf("got %s, in format 1 it was %s", old.said, format1Beat)
	}

	whole := wholeBeat(t)
	same, moved := whole, whole
	same.Number, same.As, same.Waits, same.Told = 1767323045005, 2, []string{"a"}, map[string]uint64{"a": 10}
	moved.Number, moved.As, moved.Waits, moved.Told = 1767323045007, 4, nil, nil
	moved.Inc, moved.Seq, moved.Hash, moved.Vector, moved.Digest = 0x2222, 8, hashOf(t, beganHash), 0xff, "0123456789abcdef"
	shortMoved := moved
	shortMoved.Boot, shortMoved.Started, shortMoved.Up, shortMoved.Began, shortMoved.Starting, shortMoved.ReadOnly, shortMoved.Hears = 0, 0, 0, point{}, false, false, nil
	for _, change := range []func(string) string{strings.Clone, andMore} {
		v := newVoice(t, "third")
		for _, c := range []struct {
			text        string
			says, means beat
		}{
			{format1Beat, whole, whole},
			{format1Same, beat{Number: same.Number, As: 2, Waits: same.Waits, Told: same.Told}, same},
			{format1Moved, shortMoved, moved},
		} {
			v.hears(message{"swarm.1.swarm.log.beat.old", []byte(change(c.text))})
			if p := v.peers["old"]; p == nil || !reflect.DeepEqual(p.beat, c.means) {
				t.Errorf("%s: it is known of the host %+v, want %+v", c.text, p, c.means)
			}
			if got := headed(&c.says, nil); string(got) != c.text {
				t.Errorf("%+v is said as %s, in format 1 it was %s", c.says, got, c.text)
			}
		}
	}
}

// meant is a message to one host, and what it means: an ask or an answer.
type meant struct {
	text  string
	means any
}

// toOne are the forms of asks and answers, each with all that it may say.
func toOne(t *testing.T) []meant {
	b, head, first := wholeBeat(t), hashOf(t, headHash), hashOf(t, beganHash)
	return []meant{
		{`{"ask":"hello","from":"c","id":1,"beat":` + format1Beat + `}`, ask{Ask: askHello, From: "c", ID: 1, Beat: &b}},
		{`{"answer":"hello","from":"a","id":1,"wall":1767323045003864,"version":"1.3.0","address":"10.0.0.1:6222"}`,
			answer{Answer: askHello, From: "a", ID: 1, Wall: 1767323045003864, Version: "1.3.0", Address: "10.0.0.1:6222"}},
		{`{"ask":"beat","from":"c","id":2}`, ask{Ask: askBeat, From: "c", ID: 2}},
		// The second of what is had is spared: however much there is of it, none is wanted.
		{`{"ask":"commits","from":"a","id":3,"have":[{"i":"0000000000001111","s":6,"h":"` + headHash + `"},{"i":"0000000000002222","s":18446744073709551615,"h":""}],` +
			`"record":812,"most":786432}`,
			ask{Ask: askCommits, From: "a", ID: 3, Have: []point{{0x1111, 6, head}, {Inc: 0x2222, Seq: 1<<64 - 1}}, Record: 812, Most: 786432}},
		{`{"answer":"commits","from":"b","id":3,"vector":"fc87528d96db15c4","record":813,"more":true}` + "\n{\"v\":1}\n{\"v\":1}\n",
			answer{Answer: askCommits, From: "b", ID: 3, Vector: 0xfc87528d96db15c4, Record: 813, More: true, body: []byte("{\"v\":1}\n{\"v\":1}\n")}},
		{`{"answer":"commits","from":"b","id":3,"vector":"00000000000000ff","gone":["0000000000001111","0000000000002222"],"astray":["0000000000003333"]}`,
			answer{Answer: askCommits, From: "b", ID: 3, Vector: 0xff, Gone: []events.Incarnation{0x1111, 0x2222}, Astray: []events.Incarnation{0x3333}}},
		{`{"answer":"commits","from":"b","id":3,"vector":"00000000000000ff","record":813,"more":true,"torn":true}` + "\n{\"v\":1}\n",
			answer{Answer: askCommits, From: "b", ID: 3, Vector: 0xff, Record: 813, More: true, Torn: true, body: []byte("{\"v\":1}\n")}},
		{`{"ask":"chain","from":"c","id":4,"have":[{"i":"0000000000001111","s":1,"h":""}],"inc":"0000000000001111","points":[{"i":"0000000000001111","s":2,"h":"` + beganHash + `"},` +
			`{"i":"0000000000001111","s":6,"h":"` + headHash + `"}]}`,
			ask{Ask: askChain, From: "c", ID: 4, Have: []point{{Inc: 0x1111, Seq: 1}}, Inc: 0x1111, Points: []point{{0x1111, 2, first}, {0x1111, 6, head}}}},
		{`{"answer":"chain","from":"b","id":4,"inc":"0000000000001111","common":2}` + "\n{\"v\":1}",
			answer{Answer: askChain, From: "b", ID: 4, Inc: 0x1111, Common: 2, body: []byte(`{"v":1}`)}},
		{`{"answer":"chain","from":"b","id":4,"gone":["0000000000001111"],"inc":"0000000000001111","floor":{"i":"0000000000001111","s":2,"h":"` + beganHash + `"}}`,
			answer{Answer: askChain, From: "b", ID: 4, Gone: []events.Incarnation{0x1111}, Inc: 0x1111, Floor: &point{0x1111, 2, first}}},
		{`{"ask":"look","from":"c","id":6,"inc":"0000000000001111"}`, ask{Ask: askLook, From: "c", ID: 6, Inc: 0x1111}},
		{`{"ask":"twin","from":"c","id":7,"beat":` + format1Beat + `}`, ask{Ask: askTwin, From: "c", ID: 7, Beat: &b}},
		{`{"ask":"copy","from":"c","id":8,"inc":"0000000000001111"}`, ask{Ask: askCopy, From: "c", ID: 8, Inc: 0x1111}},
		{`{"ask":"state","from":"a","id":9,"whole":7,"offset":393216}`, ask{Ask: askState, From: "a", ID: 9, Whole: 7, Offset: 393216}},
		{`{"answer":"state","from":"b","id":9,"whole":7,"size":1200000,"offset":393216}` + "\n\x00\n\xff",
			answer{Answer: askState, From: "b", ID: 9, Whole: 7, Size: 1200000, Offset: 393216, body: []byte("\x00\n\xff")}},
		{`{"answer":"state","from":"b","id":9}`, answer{Answer: askState, From: "b", ID: 9}}, // it is not given any more
		{`{"ask":"holds","from":"a","id":12,"event":"0000000000001111-3","within":10000000000}`,
			ask{Ask: askHolds, From: "a", ID: 12, Event: events.ID{Inc: 0x1111, Seq: 3}, Within: 10 * time.Second}},
		{`{"answer":"holds","from":"b","id":12,"holds":true}`, answer{Answer: askHolds, From: "b", ID: 12, Holds: true}},
	}
}

func TestFormat1_asksAndAnswers(t *testing.T) {
	var c core
	for _, m := range toOne(t) {
		for _, text := range []string{m.text, andMore(m.text)} {
			var got any
			switch q, a := c.direct(c.whole([]byte(text))); {
			case q != nil:
				got = *q
			case a != nil:
				got = *a
			}
			if !reflect.DeepEqual(got, m.means) {
				t.Errorf("%q: it is read as %+v, want %+v", text, got, m.means)
			}
		}
		var body []byte
		if a, ok := m.means.(answer); ok {
			body = a.body
		}
		if got := headed(m.means, body); string(got) != m.text {
			t.Errorf("%+v is said as %q, in format 1 it was %q", m.means, got, m.text)
		}
	}
}

// A message in pieces is put together in whatever order they come, and one that is too large is said in such.
func TestFormat1_pieces(t *testing.T) {
	pieces := []string{`{"part":81,"from":"a","piece":0,"of":3}`, `{"part":81,"from":"a","piece":1,"of":3}`, `{"part":81,"from":"a","piece":2,"of":3}`}
	text := []string{`{"ask":"lo`, `ok","from":"a","id":6,`, `"inc":"0000000000001111"}`}
	for _, change := range []func(string) string{strings.Clone, andMore} {
		var c core
		for _, i := range []int{2, 0, 1} {
			q, a := c.direct(c.whole([]byte(change(pieces[i]) + "\n" + text[i])))
			want := &ask{Ask: askLook, From: "a", ID: 6, Inc: 0x1111}
			if last := i == 1; a != nil || last != reflect.DeepEqual(q, want) || !last && q != nil {
				t.Errorf("with %s it is read as %+v, want %+v with the last of them", pieces[i], q, want)
			}
		}
	}
	var got []string
	s := sender{node: "a", send: func(_ string, data []byte) { got = append(got, string(data)) }}
	s.parts.Store(80)
	large := strings.Repeat("x", 2*512<<10) + "y"
	s.publish("anything", []byte(large))
	want := []string{pieces[0] + "\n" + large[:512<<10], pieces[1] + "\n" + large[:512<<10], pieces[2] + "\ny"}
	if !slices.Equal(got, want) {
		t.Errorf("a message of a megabyte and one byte is said in %d pieces, in format 1 it was three: %s …", len(got), pieces)
	}
}

// What is said one day has to be kept here before that day: else nothing would hold later versions to it.
func TestFormat1_nothingIsLeftOut(t *testing.T) {
	kept := map[string]bool{}
	var keep func(v reflect.Value)
	keep = func(v reflect.Value) {
		switch {
		case v.Kind() == reflect.Pointer && !v.IsNil():
			keep(v.Elem())
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				keep(v.Index(i))
			}
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				if !v.Field(i).IsZero() {
					kept[v.Type().Name()+"."+v.Type().Field(i).Name] = true
					keep(v.Field(i))
				}
			}
		}
	}
	for _, m := range toOne(t) {
		keep(reflect.ValueOf(m.means))
	}
	keep(reflect.ValueOf(beat{As: 1})) // of those that refer to a whole one
	for _, of := range []reflect.Type{reflect.TypeFor[beat](), reflect.TypeFor[point](), reflect.TypeFor[ask](), reflect.TypeFor[answer]()} {
		for i := range of.NumField() {
			if name := of.Name() + "." + of.Field(i).Name; !kept[name] {
				t.Errorf("no message that is kept says %s", name)
			}
		}
	}
}
