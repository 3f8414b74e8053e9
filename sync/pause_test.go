package sync

import (
	"fmt"
	"testing"
	"time"
)

// What cannot be read, and comes unasked for again and again, holds up nobody else's stream; in an answer it is not asked for
// again at once.
func TestTake_whatCannotBeReadHoldsUpNobodyElse(t *testing.T) {
	s := newSim(t, 1, "a", "b")
	a := s.nodes["a"]
	s.run(10 * time.Second)
	live := message{a.core.subject.commit("b"), []byte(`{"v":2,"inc":"0000000000000009","seq":1}`)}
	a.step(func() { a.core.receive([]message{live}) })
	if a.core.counts.Unreadable == 0 || s.now.Before(a.core.paused) {
		t.Errorf("%d unreadable, nothing is asked for until %v", a.core.counts.Unreadable, a.core.paused)
	}
	a.core.askCommits("b", nil)
	said := fmt.Sprintf(`{"answer":"commits","from":"b","id":%d}`, a.core.pull.id) + "\n" + `{"v":1,"inc":"nonsense"}`
	a.step(func() { a.core.receive([]message{{a.core.subject.host("a"), []byte(said)}}) })
	if !s.now.Before(a.core.paused) {
		t.Error("what cannot be read in an answer is asked for again at once")
	}
}
