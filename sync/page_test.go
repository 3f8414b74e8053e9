package sync

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// large are commits of one incarnation, each of about so many bytes.
func large(t testing.TB, inc events.Incarnation, n, size int) (all [][]byte) {
	t.Helper()
	var prev events.Hash
	for i := range n {
		id := events.ID{Inc: inc, Seq: uint64(i) + 1}
		c := events.Commit{Inc: inc, Seq: id.Seq, Time: events.TimeOf(simStart), Prev: prev, Node: "far", Actor: "a test",
			Events: []events.Event{{Kind: events.Declared, Key: key("x"), UID: id, Object: []byte(`{"x":"` + strings.Repeat("x", size) + `"}`)}}}
		b, err := c.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		prev = events.HashOf(b)
		all = append(all, b)
	}
	return all
}

// A page has as much as was asked for, within bounds, and what follows on it goes on where it ended.
func TestServe_pagesAreAsLargeAsWanted(t *testing.T) {
	n, said := lone(t)
	all := large(t, 9, 50, 100_000)
	if _, err := n.ledger.Admit(context.Background(), all); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ most, least, atMost int }{
		{0, 0, pageBytes}, {1, 0, pageBytes}, {1 << 20, pageBytes, 1 << 20}, {1 << 30, 1 << 20, pageMost},
	} {
		*said = nil
		q := ask{Ask: askCommits, From: "b", Most: c.most}
		var got []byte
		for more := true; more; {
			was := len(*said)
			n.hear(n.core.subject.host("a"), headed(&q, nil))
			b := &core{}
			var whole []byte
			for _, m := range (*said)[was:] {
				if m.subject == n.core.subject.host("b") {
					whole = b.whole(m.data)
				}
			}
			head, body := unhead(whole)
			var a answer
			if err := unmarshal(head, &a); err != nil {
				t.Fatal(err)
			}
			if len(body) > c.atMost+len(all[0]) || a.More && len(body) < c.least {
				t.Errorf("asked for %d bytes: got %d, want %d to %d", c.most, len(body), c.least, c.atMost)
			}
			got, q.Record, more = append(got, body...), a.Record, a.More
		}
		if want := append(bytes.Join(all, []byte{'\n'}), '\n'); !bytes.Equal(got, want) {
			t.Errorf("asked for %d bytes at a time: %d bytes came in all, and not those %d that there are", c.most, len(got), len(want))
		}
	}
}

// Pages grow as long as they come soon, and shrink where the link or this host is slow.
func TestPull_asksForAsMuchAsComesSoon(t *testing.T) {
	for _, c := range []struct {
		most int
		took time.Duration
		want int
	}{
		{pageBytes, soon / 2, 2 * pageBytes}, {pageMost, soon / 2, pageMost}, {pageMost, 2 * soon, pageMost},
		{pageMost, 5 * soon, pageMost / 2}, {pageBytes, 5 * soon, pageBytes},
	} {
		p := &pull{most: c.most, asked: simStart}
		if got := p.next(simStart.Add(c.took)); got != c.want {
			t.Errorf("after a page of %d that took %v: %d, want %d", c.most, c.took, got, c.want)
		}
	}
}

// Of a damaged log, what there is no room for in one answer is had with the next, and no state is taken over in its place.
func TestPull_goesOnAsLongAsADamagedLogGivesSomething(t *testing.T) {
	s := newSim(t, 1, "a", "b")
	a, b := s.nodes["a"], s.nodes["b"]
	s.run(10 * time.Second)
	b.crash()
	sound := large(t, 8, 100, 100_000)
	if _, err := a.ledger.Admit(context.Background(), append(large(t, 9, 2, 100), sound...)); err != nil {
		t.Fatal(err)
	}
	a.damage(`"inc":"0000000000000009","seq":2`)
	b.start()
	s.run(time.Minute)
	var got int
	gone, err := b.log.Missing(context.Background(), only(8, 0), 0, func(events.Record) error {
		got++
		return nil
	})
	if err != nil || len(gone) > 0 || got != len(sound) {
		t.Errorf("of %d commits that can be read of the other's disk, %d have come, gone are %v, %v", len(sound), got, gone, err)
	}
	if wrong := s.agree(); wrong != "" || b.core.counts.Transfers != 1 {
		t.Errorf("what cannot be read is had with the state, once: %d times; %s", b.core.counts.Transfers, wrong)
	}
}
