package sync

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// FuzzReceive has a host hear two messages of anything, between them and after them what is due. It must not end, must not lose
// what it has acknowledged, and what it holds must be what its log comes to.
func FuzzReceive(f *testing.F) {
	for _, file := range []string{"reverted-while-it-runs", "trimmed-log", "big-message", "one-way-cut"} {
		for _, m := range heardIn(f, file) {
			f.Add(uint8(0), m.data, uint8(2), []byte(`{"ask":"state","from":"b","id":1,"offset":-1}`))
			f.Add(uint8(1), m.data, uint8(1), m.data)
			f.Add(uint8(2), m.data, uint8(2), m.data)
		}
	}
	f.Add(uint8(2), []byte(`{"ask":"holds","from":"b","id":1,"within":9223372036854775807}`), uint8(1), []byte(`{"n":2,"as":1,"g":{"":5,"a":9000000000000,"c":1}}`))
	f.Add(uint8(1), []byte(`{"n":5,"b":7,"h":["a","","z","c","c"],"w":["c","a",""]}`), uint8(3), []byte(`{"n":2,"as":18446744073709551615}`))
	f.Add(uint8(1), []byte(`{"n":5,"as":4,"i":"0000000000000005","s":10}`), uint8(2), []byte(`{"ask":"copy","from":"b","inc":"0000000000000005"}`))
	f.Add(uint8(2), []byte(`{"part":1,"from":"b","piece":0,"of":2}`), uint8(2), []byte("{\"part\":1,\"from\":\"b\",\"piece\":1,\"of\":2}\n{}"))
	f.Add(uint8(2), []byte(`{"answer":"state","from":"b","id":2,"whole":1,"size":-5,"offset":0}`+"\nx"), uint8(0), []byte("{}"))
	f.Fuzz(func(t *testing.T, kind1 uint8, data1 []byte, kind2 uint8, data2 []byte) {
		n, _ := lone(t)
		r, ok := n.record("a test", projection.Change{Kind: events.Declared, Key: key("mine"), Object: []byte(`{"mine":true}`)})
		if !ok {
			t.Fatal("not recorded")
		}
		sub := n.core.subject
		n.hear(sub.beat("b"), headed(&beat{Boot: 1, Number: 1, Inc: 5, Seq: 9, Vector: 7}, nil))
		subjects := []string{sub.commit("b"), sub.beat("b"), sub.host("a"), sub.beat("a"), "swarm.1.sim.log.else"}
		n.hear(subjects[int(kind1)%len(subjects)], data1)
		n.run(3e9)
		n.hear(subjects[int(kind2)%len(subjects)], data2)
		n.run(40e9)
		if n.up {
			n.core.status()
		}
		v := n.ledger.View()
		if _, ok := v.Lookup(key("mine")); !ok && !v.Covers(r.Stamp.ID) {
			t.Errorf("what was acknowledged is gone: %s", heads(v.State))
		}
		n.crash()
		again, err := events.Open(n.dir, events.Options{Reserve: -1, MinFree: 1, Machine: n.machine})
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		l, err := projection.OpenLedger(again, nil, 1, nil)
		if err != nil {
			t.Fatalf("the log cannot be folded again: %v", err)
		}
		if l.View().Digest() != v.Digest() {
			t.Errorf("the log comes to another state than was shown: %s, not %s", heads(l.View().State), heads(v.State))
		}
	})
}

// heardIn are the messages of a story.
func heardIn(f *testing.F, name string) (all []message) {
	b, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		f.Fatal(err)
	}
	s := newSim(f, 1)
	p := &player{sim: s, images: map[string]string{}}
	s.heard = func(m message) {
		if len(m.data) < 10<<10 {
			all = append(all, m)
		}
	}
	for line := range bytes.Lines(b) {
		if words := bytes.Fields(line); len(words) > 0 && words[0][0] != '#' && words[0][0] != '>' {
			var text []string
			for _, w := range words {
				text = append(text, string(w))
			}
			p.do(text)
		}
	}
	return all
}

// What is off the chain of what is known is not taken, and holds up nothing that comes with it.
func TestTake_offTheChain(t *testing.T) {
	n, _ := lone(t)
	here, there := chain(t, 9, 2), chain(t, 9, 1)
	n.hear(n.core.subject.commit("b"), here[0])
	c, err := events.ParseCommit(here[1])
	if err != nil {
		t.Fatal(err)
	}
	c.Prev = events.HashOf(there[0][1:]) // it follows on another
	off, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	other := chain(t, 8, 1)
	n.hear(n.core.subject.commit("b"), bytes.Join([][]byte{off, other[0]}, []byte("\n")))
	s := n.ledger.View().State
	if n.core.counts.Astray != 1 || s.Head(9).Seq != 1 || s.Head(8).Seq != 1 {
		t.Errorf("%d are off the chain, folded is %s; want 1, and the other incarnation's", n.core.counts.Astray, heads(s))
	}
}
