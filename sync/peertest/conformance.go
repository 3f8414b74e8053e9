package peertest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	peersync "github.com/podman-swarm/podman-swarm/sync"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// Conformance is what every Bus keeps. connect returns the ends of three hosts that are, or will soon be, in reach of
// each other, and ends them with the test.
func Conformance(t *testing.T, connect func(t *testing.T) (a, b, c peersync.Bus)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, a, b, c peersync.Bus)
	}{
		{"reachesTheOthersAndNotOneself", reachesTheOthers},
		{"ofOnePublisherInOrder", inOrder},
		{"patterns", patterns},
		{"stopEnds", stopEnds},
		{"stopFromWithinDeliver", stopFromWithin},
		{"dataIsTheReceivers", dataIsTheReceivers},
		{"fromOneGoroutine", fromOneGoroutine},
		{"slowDeliverHoldsNobodyUp", slowHoldsNobodyUp},
		{"sizes", sizes},
		{"nobodyListens", nobodyListens},
		{"noSubject", noSubject},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, y, z := connect(t)
			c.test(t, x, y, z)
		})
	}
}

func reachesTheOthers(t *testing.T, a, b, c peersync.Bus) {
	atA, atB, atC := listen(t, a, "t.>"), listen(t, b, "t.>"), listen(t, c, "t.>")
	atB.reached(t, a, "t")
	atC.reached(t, a, "t")
	atA.reached(t, b, "t")
	publish(t, a, "t.x", "hello")
	atB.want(t, "t.x hello")
	atC.want(t, "t.x hello")
	publish(t, b, "t.x", "answer") // had a heard itself, it would have done so by now
	atA.want(t, "t.x answer")
}

func inOrder(t *testing.T, a, b, _ peersync.Bus) {
	at := listen(t, b, "t.*.*")
	at.reached(t, a, "t.in")
	for i := range 2000 {
		publish(t, a, fmt.Sprintf("t.%d.x", i%3), fmt.Sprint(i))
	}
	for i := range 2000 {
		at.want(t, fmt.Sprintf("t.%d.x %d", i%3, i))
	}
}

func patterns(t *testing.T, a, b, _ peersync.Bus) {
	all := listen(t, b, "t.>")
	all.reached(t, a, "t")
	got := map[string]*inbox{}
	for _, p := range []string{"t.a.*", "t.*.b", "t.a.>", "t.a.b"} {
		got[p] = listen(t, b, p)
	}
	for _, p := range []string{"t.a.*", "t.a.>"} {
		got[p].reached(t, a, "t.a")
	}
	for _, s := range []string{"t.a", "t.a.b", "t.c.b", "t.a.b.c", "t.a.c"} {
		eventually(t, a, all, s) // the interest in all patterns of b has come as well by the time the last arrives
	}
	for i := range 2 {
		for _, s := range []string{"t.a", "t.a.b", "t.c.b", "t.a.b.c", "t.a.c"} {
			publish(t, a, s, fmt.Sprint(i))
		}
	}
	publish(t, a, "t.a.b", "end")
	for p, want := range map[string][]string{
		"t.a.*": {"t.a.b", "t.a.c"}, "t.*.b": {"t.a.b", "t.c.b"}, "t.a.>": {"t.a.b", "t.a.b.c", "t.a.c"}, "t.a.b": {"t.a.b"},
	} {
		for i := range 2 {
			for _, s := range want {
				got[p].want(t, s+" "+fmt.Sprint(i))
			}
		}
		got[p].want(t, "t.a.b end")
	}
}

func stopEnds(t *testing.T, a, b, c peersync.Bus) {
	kept := listen(t, b, "t.>")
	kept.reached(t, a, "t")
	var mu sync.Mutex
	var heard []string
	stop, err := b.Subscribe("t.x", func(_ string, data []byte) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, string(data))
	})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	stop() // once more does nothing
	publish(t, a, "t.x", "late")
	publish(t, a, "t.y", "later")
	kept.want(t, "t.x late")
	kept.want(t, "t.y later")
	mu.Lock()
	defer mu.Unlock()
	if len(heard) > 0 {
		t.Errorf("heard %q after stop", heard)
	}
}

func stopFromWithin(t *testing.T, a, b, _ peersync.Bus) {
	kept := listen(t, b, "t.>")
	kept.reached(t, a, "t")
	var stop func()
	ready, heard := make(chan struct{}), make(chan string, 100)
	stop, err := b.Subscribe("t.x", func(_ string, data []byte) {
		<-ready
		stop()
		heard <- string(data)
	})
	if err != nil {
		t.Fatal(err)
	}
	close(ready)
	eventually(t, a, kept, "t.x")
	for i := range 10 {
		publish(t, a, "t.x", fmt.Sprint(i))
		kept.want(t, "t.x "+fmt.Sprint(i))
	}
	if len(heard) > 1 {
		t.Errorf("deliver was called %d times, although it stopped itself in the first", len(heard))
	}
}

func dataIsTheReceivers(t *testing.T, a, b, c peersync.Bus) {
	spoil := func(bus peersync.Bus) *inbox {
		in := &inbox{got: make(chan string, 10000)}
		stop, err := bus.Subscribe("t.>", func(subject string, data []byte) {
			in.got <- subject + " " + string(data)
			for i := range data {
				data[i] = '!'
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		return in
	}
	ins := []*inbox{spoil(b), spoil(b), spoil(c)}
	for _, in := range ins {
		in.reached(t, a, "t")
	}
	data := []byte("hello")
	for range 2 {
		if err := a.Publish("t.x", data); err != nil {
			t.Fatal(err)
		}
	}
	for _, in := range ins {
		in.want(t, "t.x hello")
		in.want(t, "t.x hello")
	}
	if string(data) != "hello" {
		t.Errorf("the publisher's own data became %q", data)
	}
}

func fromOneGoroutine(t *testing.T, a, b, c peersync.Bus) {
	var inside sync.Mutex
	at := &inbox{got: make(chan string, 10000)}
	stop, err := b.Subscribe("t.>", func(subject string, data []byte) {
		if !inside.TryLock() {
			t.Error("deliver is called while it is running")
			return
		}
		defer inside.Unlock()
		at.got <- subject + " " + string(data)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	at.reached(t, a, "t")
	at.reached(t, c, "t")
	var publishing sync.WaitGroup
	for _, from := range []peersync.Bus{a, c} {
		publishing.Go(func() {
			for range 500 {
				if err := from.Publish("t.x", []byte("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	publishing.Wait()
	for range 1000 {
		at.want(t, "t.x x")
	}
}

func slowHoldsNobodyUp(t *testing.T, a, b, c peersync.Bus) {
	stuck, release := make(chan struct{}, 1), make(chan struct{})
	stop, err := b.Subscribe("t.>", func(string, []byte) {
		select {
		case stuck <- struct{}{}:
		default:
		}
		<-release
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	t.Cleanup(func() { close(release) }) // before stop
	atB, atC := listen(t, b, "t.>"), listen(t, c, "t.>")
	atB.reached(t, a, "t")
	atC.reached(t, a, "t")
	<-stuck
	const many = 3000
	for i := range many {
		publish(t, a, "t.x", fmt.Sprint(i))
		atB.want(t, "t.x "+fmt.Sprint(i))
		atC.want(t, "t.x "+fmt.Sprint(i))
	}
}

func sizes(t *testing.T, a, b, _ peersync.Bus) {
	got := make(chan []byte, 100)
	at := listen(t, b, "t.>")
	stop, err := b.Subscribe("t.size", func(_ string, data []byte) { got <- data })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	at.reached(t, a, "t")
	for range 2 { // the first may come too early for the second subscription
		eventually(t, a, at, "t.size")
	}
	for _, size := range []int{0, 1, 1000, 600_000} {
		sent := bytes.Repeat([]byte("x"), size)
		if err := a.Publish("t.size", sent); err != nil {
			t.Fatalf("publish %d bytes: %v", size, err)
		}
		for {
			data := receive(t, got)
			if bytes.Contains(data, []byte(probe)) {
				continue
			}
			if !bytes.Equal(data, sent) {
				t.Fatalf("got %d bytes, want the %d that were sent", len(data), size)
			}
			break
		}
	}
}

func nobodyListens(t *testing.T, a, _, _ peersync.Bus) {
	publish(t, a, "t.nobody", "hello")
}

func noSubject(t *testing.T, a, b, _ peersync.Bus) {
	if err := a.Publish("", []byte("x")); err == nil {
		t.Error("published to no subject")
	}
	if _, err := b.Subscribe("", func(string, []byte) {}); err == nil {
		t.Error("subscribed to no subject")
	}
}

// probe is what a test publishes until it is heard; inboxes do not show it.
const probe = "--probe--"

type inbox struct{ got chan string }

func listen(t *testing.T, bus peersync.Bus, pattern string) *inbox {
	t.Helper()
	in := &inbox{got: make(chan string, 10000)}
	stop, err := bus.Subscribe(pattern, func(subject string, data []byte) { in.got <- subject + " " + string(data) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return in
}

// reached waits until what is published at from below a subject arrives.
func (in *inbox) reached(t *testing.T, from peersync.Bus, subject string) {
	t.Helper()
	eventually(t, from, in, subject+".probe")
}

func eventually(t *testing.T, from peersync.Bus, in *inbox, subject string) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	mine := fmt.Sprint(probe, time.Now().UnixNano())
	for {
		publish(t, from, subject, mine)
		select {
		case got := <-in.got:
			if strings.HasSuffix(got, mine) {
				return
			}
		case <-again.C:
		case <-timeout.C:
			t.Fatalf("what is published to %s does not arrive within %v", subject, patience)
		}
	}
}

// want waits for the next message that is no probe.
func (in *inbox) want(t *testing.T, want string) {
	t.Helper()
	for {
		got := receive(t, in.got)
		if strings.Contains(got, probe) {
			continue
		}
		if got != want {
			t.Fatalf("got %.100q, want %q", got, want)
		}
		return
	}
}

func receive[T any](t *testing.T, from chan T) T {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case got := <-from:
		return got
	case <-timeout.C:
		t.Fatalf("nothing came within %v", patience)
		panic("unreachable")
	}
}

func publish(t *testing.T, from peersync.Bus, subject, data string) {
	t.Helper()
	if err := from.Publish(subject, []byte(data)); err != nil {
		t.Fatalf("publish to %s: %v", subject, err)
	}
}
