package sync

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
)

// What is of a later format is not asked for again and again; that it is lacked is told all the same, for as long as it is.
func TestPull_tooNew(t *testing.T) {
	n, said := lone(t)
	began := n.now
	tooNew := fmt.Appendf(nil, `{"v":2,"inc":"0000000000000009","seq":1,"time":"019b76dabb880000","new":true}`)
	for i := range 400 {
		if i%4 == 0 { // the vector of b goes on, by commits of others that come here, or stands
			n.hear(n.core.subject.beat("b"), headed(&beat{Boot: 1, Number: uint64(i + 1), Inc: 9, Seq: 1, Vector: mark(50 + i/8)}, nil))
		}
		n.now = n.now.Add(500 * time.Millisecond)
		n.step(n.core.tick)
		asked := slices.Clone(*said)
		*said = nil
		for _, m := range asked {
			var q ask
			if json.Unmarshal(m.data, &q) != nil || q.Ask != askCommits {
				continue
			}
			a := answer{Answer: askCommits, From: "b", ID: q.ID, Vector: mark(50 + i/8)}
			if !slices.ContainsFunc(q.Have, func(p point) bool { return p.Inc == 9 }) {
				a.body = tooNew
			}
			n.hear(n.core.subject.host("a"), headed(&a, a.body))
		}
		if p := n.core.status().Peers; i > 8 && (len(p) != 1 || p[0].Ahead.IsZero() || p[0].Ahead.Sub(began) > time.Second || p[0].Lacked != 1 || !p[0].Folded) {
			t.Fatalf("after %v: %+v, want that b has something since the beginning that is lacked, and nothing that can be had", n.now.Sub(began), p)
		}
	}
	if asked := n.core.counts.Asked; asked < 2 || asked > 60 {
		t.Errorf("it asked %d times for 50 vectors", asked)
	}
	if got := n.problems(); len(got) != 1 {
		t.Errorf("problems: %q, want one", got)
	}
}
