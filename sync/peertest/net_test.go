package peertest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	peersync "github.com/podman-swarm/podman-swarm/sync"
)

func TestNet_conforms(t *testing.T) {
	Conformance(t, func(t *testing.T) (a, b, c peersync.Bus) {
		n := NewNet(1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			n.Run(ctx)
		}()
		t.Cleanup(func() {
			cancel()
			<-done
		})
		return n.End("a"), n.End("b"), n.End("c")
	})
}

// hears makes an end that writes down what it hears.
func hears(t *testing.T, n *Net, name string, heard *[]string) *End {
	t.Helper()
	e := n.End(name)
	if _, err := e.Subscribe("t.>", func(_ string, data []byte) { *heard = append(*heard, name+string(data)) }); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestNet_stepped(t *testing.T) {
	n := NewNet(1)
	var heard []string
	a, _ := n.End("a"), hears(t, n, "b", &heard)
	for i := range 4 {
		publish(t, a, "t.x", fmt.Sprint(i))
	}
	if got := fmt.Sprint(n.Pending()[0]); got != "a→b t.x 1B" || len(n.Pending()) != 4 || len(heard) > 0 {
		t.Fatalf("got %v under way, the first %s, and %q delivered before anybody stepped", len(n.Pending()), got, heard)
	}
	if got := n.Next(); !slices.Equal(got, []int{0}) {
		t.Errorf("got %v that may be delivered in order, want only the first", got)
	}
	n.Deliver(1)
	n.Deliver(n.Duplicate(0))
	n.Drop(1) // 2
	n.Settle(10)
	if want := []string{"b1", "b0", "b0", "b3"}; !slices.Equal(heard, want) {
		t.Errorf("got %q, want %q", heard, want)
	}
	if n.Lost() != 1 {
		t.Errorf("got %d lost, want the one that was dropped", n.Lost())
	}
}

func TestNet_cutOneWay(t *testing.T) {
	n := NewNet(1)
	var heard []string
	a, b := hears(t, n, "a", &heard), hears(t, n, "b", &heard)
	publish(t, a, "t.x", "0") // under way when the link is cut
	n.CutOneWay("a", "b")
	publish(t, a, "t.x", "1")
	publish(t, b, "t.x", "2")
	n.Settle(10)
	n.HealAll()
	publish(t, a, "t.x", "3")
	n.Settle(10)
	if want := []string{"a2", "b3"}; !slices.Equal(heard, want) {
		t.Errorf("got %q, want %q", heard, want)
	}
}

func TestNet_anEndComesBack(t *testing.T) {
	n := NewNet(1)
	var heard []string
	a := n.End("a")
	old := hears(t, n, "b", &heard)
	publish(t, a, "t.x", "0")
	again := n.End("b")
	publish(t, old, "t.x", "1")
	n.Settle(10)
	if len(heard) > 0 || len(n.Pending()) > 0 {
		t.Errorf("the end that is gone heard %q", heard)
	}
	if again.Name() != "b" {
		t.Errorf("got name %s, want b", again.Name())
	}
}

func TestNet_sameSeedSameRun(t *testing.T) {
	run := func(seed uint64) []string {
		n := NewNet(seed)
		n.Faults(Faults{Loss: 0.2, Duplicate: 0.2, Reorder: 0.3})
		var heard []string
		a, b := hears(t, n, "a", &heard), hears(t, n, "b", &heard)
		for i := range 50 {
			publish(t, a, "t.x", fmt.Sprint(i))
			publish(t, b, "t.x", fmt.Sprint(i))
			n.Step()
		}
		n.Settle(1000)
		return heard
	}
	if a, b := run(7), run(7); !slices.Equal(a, b) {
		t.Errorf("the same seed gave\n%q and\n%q", a, b)
	}
	if a, b := run(7), run(8); slices.Equal(a, b) {
		t.Error("two seeds gave the same run")
	}
}

// Jitter alone must not break the order that Bus promises; Reorder must.
func TestNet_inVirtualTime(t *testing.T) {
	for _, reorder := range []float64{0, 0.5} {
		synctest.Test(t, func(t *testing.T) {
			n := NewNet(3)
			n.Faults(Faults{Delay: time.Minute, Jitter: time.Hour, Reorder: reorder})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				n.Run(ctx)
			}()
			var heard []string
			a, _ := n.End("a"), hears(t, n, "b", &heard)
			began := time.Now()
			for i := range 20 {
				publish(t, a, "t.x", fmt.Sprintf("%02d", i))
			}
			time.Sleep(time.Minute - time.Second)
			synctest.Wait()
			if got := len(n.Pending()); got != 20 {
				t.Errorf("%d of 20 still under way after %v, earlier than the delay", got, time.Since(began))
			}
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			cancel()
			<-done
			if len(heard) != 20 || slices.IsSorted(heard) != (reorder == 0) {
				t.Errorf("reorder %v: got %q", reorder, heard)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, subject string
		want             bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a.c", false}, {"a.b", "a", false}, {"a", "a.b", false},
		{"a.*", "a.b", true}, {"a.*", "a", false}, {"a.*", "a.b.c", false}, {"*.b", "a.b", true},
		{"a.>", "a.b", true}, {"a.>", "a.b.c", true}, {"a.>", "a", false}, {">", "a", true},
	} {
		if got := matches(c.pattern, c.subject); got != c.want {
			t.Errorf("%s matches %s: got %v, want %v", c.pattern, c.subject, got, c.want)
		}
	}
}
