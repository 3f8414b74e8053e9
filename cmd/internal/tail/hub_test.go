package tail

import (
	"context"
	"math/rand/v2"
	"slices"
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

// Those who follow are told of a log that grows no faster than that whoever changes something has processors left; and so are those who are far behind,
// unless there is but one.
func TestTail_pace(t *testing.T) {
	const followers, first, more, record = 100, 10, 50, 3000 // as memory has them
	synctest.Test(t, func(t *testing.T) {
		m := &memory{rand: rand.New(rand.NewPCG(1, 1)), most: first + more, changed: make(chan struct{})}
		m.append(first)
		calm := func(ctx context.Context, after uint64, fn func(events.Record) error) error {
			for i, end := after+1, m.length(); i <= end; i++ {
				if err := fn(events.Record{Number: i, Index: i, Count: 1, Payload: make([]byte, record)}); err != nil {
					return err
				}
			}
			return nil
		}
		tt := &Tail{Read: calm, View: m.calmView}
		var all sync.WaitGroup
		defer tt.Join()()
		for range followers {
			all.Go(func() {
				defer tt.Join()()
				if err := tt.Wait(t.Context(), first); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second) // that of those who have come
		synctest.Wait()
		began := time.Now()
		m.append(more)
		all.Wait()
		if took, want := time.Since(began), followers*more*record*perByte; took < want*9/10 || took > 2*want { // the last of them wait for nothing
			t.Errorf("%d followers were told of %d bytes each within %v, want about %v", followers, more*record, took, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		m := &memory{rand: rand.New(rand.NewPCG(1, 1)), most: 1000, changed: make(chan struct{})}
		m.append(1000)
		tt := &Tail{Read: func(ctx context.Context, after uint64, fn func(events.Record) error) error {
			for i := after + 1; i <= 1000; i++ {
				if err := fn(events.Record{Number: i, Index: i, Count: 1, Payload: make([]byte, record)}); err != nil {
					return err
				}
			}
			return nil
		}, View: m.calmView}
		all := func(readers int) time.Duration {
			began := time.Now()
			var wg sync.WaitGroup
			for range readers {
				wg.Go(func() {
					if err := tt.All(t.Context(), 0, func([]*Item) error { return nil }); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			return time.Since(began)
		}
		if took := all(1); took != 0 {
			t.Errorf("one reader was held up for %v", took)
		}
		stalled, proceed := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			var once sync.Once
			if err := tt.All(t.Context(), 0, func([]*Item) error {
				once.Do(func() { close(stalled); <-proceed })
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
		<-stalled
		if took := all(1); took != 0 {
			t.Errorf("one reader was held up for %v by another who takes nothing", took)
		}
		close(proceed)
		wg.Wait()
		if took, want := all(10), 8*1000*record*perBehind; took < want {
			t.Errorf("ten readers of %d bytes each had them within %v, want %v at least", 1000*record, took, want)
		}
	})
}

// calmView is View while nobody appends.
func (m *memory) calmView() (uint64, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.end, m.changed
}

func (m *memory) length() uint64 { n, _ := m.calmView(); return n }

// Since finds the same whether what it looks for is in memory or not, and looks into the log only for what is not.
func TestTail_since(t *testing.T) {
	const n = 1000
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(i uint64) time.Time { return begin.Add(time.Duration(i/3) * time.Second) }
	reads := 0
	tt := &Tail{
		Read: func(_ context.Context, after uint64, fn func(events.Record) error) error {
			reads++
			for i := after + 1; i <= n; i++ {
				if err := fn(events.Record{Number: i, Index: i, Count: 1, At: at(i)}); err != nil {
					return err
				}
			}
			return nil
		},
		View: func() (uint64, <-chan struct{}) { return n, nil },
	}
	find := func() (found []uint64) {
		for s := range n/3 + 3 {
			after, err := tt.Since(t.Context(), begin.Add(time.Duration(s)*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, after)
		}
		return found
	}
	cold := find()
	for s, after := range cold {
		want := min(n, uint64(max(3*s-1, 0)))
		if after != want {
			t.Errorf("since second %d: got %d, want %d", s, after, want)
		}
	}
	tt.hub = &hub{tail: tt, last: n - recentFirst} // which has been stopped for a moment
	tt.hub.read(t.Context())
	if warm := find(); !slices.Equal(warm, cold) {
		t.Errorf("got %v with the newest in memory, and %v without", warm, cold)
	}
	reads = 0
	if after, err := tt.Since(t.Context(), at(n).Add(time.Second)); after != n || err != nil || reads != 0 {
		t.Errorf("from now on: got %d, %v after the log was read %d times, want %d and 0", after, err, reads, n)
	}
}
