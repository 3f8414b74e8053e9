package sync

import (
	"context"
	"slices"
	gosync "sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// hanging is a ledger on a disk that does not answer until the channel is closed.
type hanging struct {
	*projection.Ledger
	answers chan struct{}
}

func (l hanging) Admit(ctx context.Context, commits [][]byte) ([]projection.Admission, error) {
	<-l.answers
	return l.Ledger.Admit(ctx, commits)
}

func (s *Sync) peer(name string) Peer {
	st, _ := s.Status()
	if i := slices.IndexFunc(st.Peers, func(p Peer) bool { return p.Host == name }); i >= 0 {
		return st.Peers[i]
	}
	return Peer{}
}

// A host whose disk does not answer lives: its containers need not move. Once that takes too long it is read-only, and says that
// something is wrong. It never says that it holds what is not on its disk.
func TestRun_aBusyHostIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &air{cut: map[string]bool{}}
		answers := make(chan struct{})
		a, la := live(t, bus, "a")
		b, lb := liveOn(t, antenna{bus, "b"}, "b", func(l *projection.Ledger) Ledger { return hanging{l, answers} })
		answer := gosync.OnceFunc(func() { close(answers) })
		t.Cleanup(answer)
		time.Sleep(5 * time.Second)
		if p := a.peer("b"); !p.Alive || p.ReadOnly || p.Behind > 0 || !slices.Contains(p.Hears, "a") {
			t.Fatalf("before: a sees of b %+v", p)
		}
		id := mustApply(t, la, "x")
		for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(100 * time.Millisecond) {
			p := a.peer("b")
			switch took := time.Since(began); {
			case !p.Alive || time.Since(p.Heard) > time.Second:
				t.Fatalf("after %v, b is silent: %+v", took, p)
			case took < 4*time.Second && p.ReadOnly:
				t.Fatalf("after %v, b is read-only", took)
			case took > 6*time.Second && (!p.ReadOnly || slices.Contains(p.Hears, "a")):
				t.Fatalf("after %v, a sees of b %+v", took, p)
			case took > time.Second && p.Behind == 0:
				t.Fatalf("after %v, b says that it has what it has not", took)
			}
		}
		if st, _ := b.Status(); len(st.Problems) != 1 || !b.peer("a").Alive {
			t.Errorf("b says of itself %+v", st)
		}
		short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		if _, _, err := b.Spread(short, id, []string{"a", "b"}, 0); err == nil || time.Since(began) > 2*time.Second {
			t.Errorf("asked who has it, b answers %v after %v", err, time.Since(began))
		}
		answer()
		time.Sleep(3 * time.Second)
		if p := a.peer("b"); p.ReadOnly || p.Behind > 0 || !slices.Contains(p.Hears, "a") || !lb.View().Covers(id) {
			t.Errorf("after: a sees of b %+v", p)
		}
		if st, _ := b.Status(); len(st.Problems) > 0 {
			t.Errorf("after: b says of itself %+v", st.Problems)
		}
	})
}

// late is a Bus that delivers nothing until the channel is closed, if there is one.
type late struct {
	Bus
	until *atomic.Pointer[chan struct{}]
}

func (l late) Subscribe(pattern string, deliver func(string, []byte)) (func(), error) {
	return l.Bus.Subscribe(pattern, func(subject string, data []byte) {
		if c := l.until.Load(); c != nil {
			<-*c
		}
		deliver(subject, data)
	})
}

// When the disk answers again, the host takes nobody for silent whom it did not listen to meanwhile: what they said waits for it.
func TestRun_whoWasBusyTakesNobodyForSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &air{cut: map[string]bool{}}
		answers, waits := make(chan struct{}), make(chan struct{})
		var until atomic.Pointer[chan struct{}]
		a, la := live(t, bus, "a")
		b, _ := liveOn(t, late{antenna{bus, "b"}, &until}, "b", func(l *projection.Ledger) Ledger { return hanging{l, answers} })
		time.Sleep(5 * time.Second)
		mustApply(t, la, "x")
		time.Sleep(time.Millisecond)
		until.Store(&waits)
		time.Sleep(10 * time.Second)
		close(answers)
		for i := range 100 {
			if i == 30 {
				until.Store(nil)
				close(waits)
			}
			b.do(t.Context(), func() {}) // as somebody asks for something
			if p := b.peer("a"); !p.Alive {
				t.Errorf("%d ms after the disk answers b sees of a %+v", 10*i, p)
			}
			if p := a.peer("b"); !p.Alive || !p.ReadOnly && !slices.Contains(p.Hears, "a") {
				t.Errorf("%d ms after the disk answers a sees of b %+v", 10*i, p)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}
