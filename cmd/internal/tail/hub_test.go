package tail

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// memory is a log in memory, to which something is appended at the worst of moments.
type memory struct {
	mu        sync.Mutex
	rand      *rand.Rand
	end, most uint64
	changed   chan struct{}
}

func newMemory(seed uint64, most uint64) *memory {
	return &memory{rand: rand.New(rand.NewPCG(seed, 0)), most: most, changed: make(chan struct{})}
}

func (m *memory) append(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(n)
}

func (m *memory) add(n uint64) {
	if n = min(n, m.most-m.end); n > 0 {
		m.end += n
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

// sometimes appends, as somebody else would do just then.
func (m *memory) sometimes() {
	if m.rand.IntN(3) == 0 {
		m.add(m.rand.Uint64N(3))
	}
}

func (m *memory) View() (uint64, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sometimes()
	end, changed := m.end, m.changed
	m.sometimes()
	return end, changed
}

func (m *memory) Read(ctx context.Context, after uint64, fn func(events.Record) error) error {
	m.mu.Lock()
	end := m.end
	m.sometimes()
	m.mu.Unlock()
	for i := after + 1; i <= end; i++ {
		if err := fn(events.Record{Number: i, Index: i, Count: 1, Payload: make([]byte, 3000)}); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sometimes()
	return ctx.Err()
}

// No wake-up is lost: whoever waits is told of whatever is there, at whichever moment it came. Were one lost, then somebody would wait for ever,
// which is a deadlock here.
func TestHub_noWakeUpIsLost(t *testing.T) {
	const seeds, followers, most = 20, 40, 300
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(seed, most)
			tt := &Tail{Read: m.Read, View: m.View}
			var all sync.WaitGroup
			for n := range followers {
				at := rand.New(rand.NewPCG(seed, uint64(n)))
				all.Go(func() {
					time.Sleep(time.Duration(at.IntN(100)) * time.Millisecond)
					after := uint64(0)
					for after < most { // coming and going
						after = m.follow(t, tt, after, min(most, after+1+at.Uint64N(most)))
					}
				})
			}
			pause := rand.New(rand.NewPCG(seed, most))
			for end, _ := m.View(); end < most; end, _ = m.View() {
				time.Sleep(time.Duration(pause.IntN(5)) * time.Millisecond)
				synctest.Wait() // so that all wait for this one
				m.append(1)
			}
			all.Wait()
			if s := tt.Stats(); s.Followers != 0 {
				t.Errorf("got %+v", s)
			}
		})
	}
}

// dawdle has others go on meanwhile, at times.
func (m *memory) dawdle() {
	m.mu.Lock()
	n := m.rand.IntN(4)
	m.mu.Unlock()
	time.Sleep(time.Duration(n) * time.Millisecond)
}

// follow follows from one index to another.
func (m *memory) follow(t *testing.T, tt *Tail, after, until uint64) uint64 {
	defer tt.Join()()
	for spurious := 0; ; spurious++ {
		err := tt.Each(t.Context(), after, func(items []*Item) error {
			for _, it := range items {
				if it.Index != after+1 {
					t.Errorf("got %d after %d", it.Index, after)
				}
				after, spurious = it.Last(), 0
			}
			return nil
		})
		if err != nil || spurious > 0 {
			t.Errorf("after %d: woken %d times for nothing, %v", after, spurious, err)
			return until
		}
		if after >= until {
			return after
		}
		m.dawdle()
		if err := tt.Wait(t.Context(), after); err != nil {
			t.Error(err)
			return until
		}
	}
}

// Who asks once is told of all that there is, also of what has just come and those who follow have not been told of yet: of one's own change not least.
func TestTail_all(t *testing.T) {
	m := newMemory(1, 9)
	m.append(3)
	tt := &Tail{Read: m.Read, View: m.View}
	tt.hub = &hub{tail: tt} // which has been stopped for a moment
	tt.hub.read(t.Context())
	m.append(4)
	var end uint64
	each := func(by func(context.Context, uint64, func([]*Item) error) error) (last uint64) {
		end, _ = m.View()
		if err := by(t.Context(), 0, func(items []*Item) error {
			for _, it := range items {
				if it.Index != last+1 {
					t.Errorf("after %d comes %d", last, it.Index)
				}
				last = it.Index
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		return last
	}
	if last := each(tt.All); last < end {
		t.Errorf("the log ends at %d, and %d was the last of all", end, last)
	}
	if last := each(tt.Each); last >= end {
		t.Errorf("the log ends at %d, and who has joined is told of %d already", end, last)
	}
}
