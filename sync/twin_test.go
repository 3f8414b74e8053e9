package sync

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
)

// Two agents of one name have no route to each other. A third host, which hears both, tells them; the one that has been up
// for less long ends, and the other goes on.
func TestBeat_twinsAreToldByAThird(t *testing.T) {
	s := newSim(t, 1, "a", "b")
	a, b := s.nodes["a"], s.nodes["b"]
	s.run(10 * time.Second)
	var told [][]byte
	a.core.out.send = func(subject string, data []byte) {
		kind, to := subjects{"sim"}.read(subject)
		var q ask
		if kind == "host" && to == "b" && json.Unmarshal(data, &q) == nil && q.Ask == askTwin {
			told = append(told, data)
		}
	}
	younger := beat{Inc: 77, Boot: 99, Up: 1000, Number: 1}
	elder := beat{Inc: b.log.Incarnation(), Boot: b.core.boot, Up: 10000, Number: 1}
	for range 3 {
		for _, said := range []beat{elder, younger} {
			s.now = s.now.Add(time.Second)
			a.core.step(t.Context(), s.now, func() { a.core.onBeat("b", headed(&said, nil)) })
		}
	}
	if len(told) == 0 {
		t.Fatal("nobody is told")
	}
	if a.core.problems["twins b"] == nil {
		t.Error("it is no problem to be shown")
	}
	for _, m := range told {
		s.now = s.now.Add(time.Second)
		b.hear(b.core.subject.host("b"), m)
	}
	if b.core.fatal != nil {
		t.Errorf("the elder ends: %v", b.core.fatal)
	}
	b.core.boot, b.core.born = 99, s.now // as the younger
	for _, m := range told {
		s.now = s.now.Add(time.Second)
		b.hear(b.core.subject.host("b"), m)
	}
	if !errors.Is(b.core.fatal, errSecond) {
		t.Errorf("the younger goes on: %v", b.core.fatal)
	}
	// An agent that was started again is not its own twin.
	told = nil
	for _, boot := range []uint64{5, 5, 6, 6} {
		s.now = s.now.Add(time.Second)
		a.core.step(t.Context(), s.now, func() { a.core.onBeat("c", headed(&beat{Inc: 8, Boot: boot}, nil)) })
	}
	if told != nil || a.core.problems["twins c"] != nil {
		t.Error("an agent that was started again counts as two")
	}
}
