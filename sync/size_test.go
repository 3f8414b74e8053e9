package sync

import (
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

var (
	sizes     = flag.Bool("size", false, "simulate clusters of many hosts, and say what they cost, for the benchmarks")
	sizeShort = flag.Bool("size.short", false, "with -size: fewer of them")
)

// counted is what goes through a simulated network.
type counted struct {
	messages, bytes uint64
}

// count has all hosts' messages counted, once for each receiver.
func (s *sim) count() *counted {
	c := &counted{}
	for _, n := range s.sorted() {
		send := n.core.out.send
		n.core.out.send = func(subject string, data []byte) {
			to := uint64(len(s.nodes) - 1)
			if kind, _ := n.core.subject.read(subject); kind == "host" {
				to = 1
			}
			c.messages += to
			c.bytes += to * uint64(len(subject)+len(data))
			send(subject, data)
		}
	}
	return c
}

// What hosts say and how soon they have an event, where there are more of them than one machine could run. It is no test:
// it says so only when it is asked, one figure a line, for the benchmarks to read.
func TestSize_whatManyHostsSay(t *testing.T) {
	if !*sizes {
		return // no test is left out: it measures, and does not judge
	}
	whole, beats := 100, 1000
	if *sizeShort {
		whole, beats = 20, 100
	}
	t.Run("all that sync does", func(t *testing.T) { sayAll(t, whole) })
	t.Run("commits, and the beats of one host", func(t *testing.T) { sayCommits(t, beats) })
}

// figure is a line of the benchmarks' table.
type figure struct {
	Figure string  `json:"figure"`
	Ours   string  `json:"ours"`
	With   string  `json:"compared_with"`
	Theirs string  `json:"theirs"`
	Ratio  float64 `json:"ratio"`
	Note   string  `json:"note"`
}

func say(f figure) {
	b, err := json.Marshal(f)
	if err != nil {
		panic(err) // texts and numbers
	}
	fmt.Println("size: " + string(b))
}

func names(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("host%04d", i))
	}
	return all
}

// sayAll simulates everything, beats and all.
func sayAll(t *testing.T, n int) {
	s := newSim(t, 1, names(n)...)
	for _, o := range s.sorted() {
		o.starting = false
	}
	s.run(5 * time.Second) // all have heard all
	c := s.count()
	const window = 6 * time.Second // three beats; the asks for the time come each 30 s, and are few
	s.run(window)
	perMinute := float64(n) * window.Minutes()
	messages, bytes := float64(c.messages)/perMinute, float64(c.bytes)/perMinute
	sent, empty := bytes+messages*perFrame, float64(n-1)*30*perFrame
	say(figure{fmt.Sprintf("n  sent while idle by each of %d simulated hosts", n), fmt.Sprintf("%.0f kB/min", sent/1000),
		"30 empty beats a minute to each other", fmt.Sprintf("%.0f kB/min", empty/1000), sent / empty,
		fmt.Sprintf("%.0f messages a minute, of %.0f bytes each with their subjects, and %d more for NATS, TLS and TCP",
			messages, bytes/messages, perFrame)})
	for _, loss := range []float64{0, 0.01} {
		s.loss = loss
		took := s.oneEvent(t)
		say(figure{fmt.Sprintf("n  an event at all of %d simulated hosts, %.0f%% of messages lost", n, 100*loss), fmt.Sprintf("%d ms", took.Milliseconds()),
			"the longest way there", fmt.Sprintf("%d ms", (s.delay + time.Millisecond).Milliseconds()), float64(took) / float64(s.delay+time.Millisecond),
			"virtual time, without what disks and cores take; each message takes 1 to 21 ms"})
	}
}

// perFrame is what an empty message takes on the wire: the line of NATS, TLS, TCP, IP, Ethernet, and half a frame that
// acknowledges. The benchmarks of whole hosts reckon the same.
const perFrame = 161

// sayCommits simulates commits and what they lead to, with the beats of the host that wrote them: those of all would be
// a million messages in a beat, each of which tells of all hosts, and what they cost is computed instead.
func sayCommits(t *testing.T, n int) {
	s := newSim(t, 1, names(n)...)
	all := s.sorted()
	for _, o := range all {
		o.starting = false
		o.core.nextBeat, o.core.nextLook = s.now.Add(24*time.Hour), s.now.Add(24*time.Hour)
		o.nextTick = s.now.Add(24 * time.Hour)
	}
	writer := all[0]
	writer.core.nextBeat, writer.nextTick = s.now, s.now
	s.run(3 * time.Second)
	for _, o := range all[1:] { // what those lack who lost a message is found by a beat, and asked for
		o.nextTick = s.now.Add(time.Duration(s.rng.Int64N(int64(tickEvery))))
	}
	for _, loss := range []float64{0, 0.01} {
		s.loss = loss
		took := s.oneEvent(t)
		say(figure{fmt.Sprintf("n  an event at all of %d simulated hosts, %.0f%% of messages lost", n, 100*loss), fmt.Sprintf("%d ms", took.Milliseconds()),
			"the longest way there", fmt.Sprintf("%d ms", (s.delay + time.Millisecond).Milliseconds()), float64(took) / float64(s.delay+time.Millisecond),
			"virtual time, as above, and only the host that wrote it beats"})
	}
	size := float64(len(headed(&beat{Number: uint64(s.now.UnixMilli()), As: 1000}, nil)) + len(writer.core.subject.beat(writer.name)))
	say(figure{fmt.Sprintf("n  sent while idle by each of %d hosts, computed", n), fmt.Sprintf("%.1f MB/min", (size+perFrame)*30*float64(n-1)/1e6),
		"30 empty beats a minute to each other", fmt.Sprintf("%.1f MB/min", float64(n-1)*30*perFrame/1e6), (size + perFrame) / perFrame,
		fmt.Sprintf("a beat of a host with which all is as it was has %.0f bytes", size)})
}

// oneEvent has the first host record something, and gives how long until all have it.
func (s *sim) oneEvent(t *testing.T) time.Duration {
	all := s.sorted()
	writer := all[0]
	began := s.now
	id := writer.recordOne(t, fmt.Sprintf("o%d", began.UnixNano()))
	for s.now.Sub(began) < 2*time.Minute {
		if !slices.ContainsFunc(all, func(n *node) bool { return !n.ledger.View().Covers(id) }) {
			return s.now.Sub(began)
		}
		s.run(time.Millisecond)
	}
	t.Fatal("an event did not come to all hosts within two minutes")
	return 0
}

// recordOne has the host record an object of that name, and gives the event.
func (n *node) recordOne(t *testing.T, name string) events.ID {
	change := projection.Change{Kind: events.Declared, Key: key(name), Object: []byte(`{"Life":1,"Version":1}`)}
	r, err := n.ledger.Record(t.Context(), projection.By{Actor: "sim", Cause: "sim"},
		func(*projection.State) ([]projection.Change, error) { return []projection.Change{change}, nil })
	if err != nil {
		t.Fatalf("%s: %v", n.name, err)
	}
	n.step(func() {})
	return r.Stamp.ID
}
