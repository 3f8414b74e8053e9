package street

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Link is what becomes of the frames that one host sends to another. The zero Link is a wire without fault.
type Link struct {
	Cut       bool
	Delay     time.Duration // of each frame
	Jitter    time.Duration // and up to this much more, at random for each, so that they overtake each other
	Loss      float64       // of so many of 1
	Duplicate float64       // so many of 1 come twice
}

// String says what is wrong with the link.
func (l Link) String() string {
	switch {
	case l.Cut:
		return "cut"
	case l == Link{}:
		return "whole"
	}
	return fmt.Sprintf("delay %v+%v loss %.0f%% twice %.0f%%", l.Delay, l.Jitter, 100*l.Loss, 100*l.Duplicate)
}

// mostLate is how many delayed frames are kept; those beyond are lost, as in any switch.
const mostLate = 1 << 14

// Switch carries frames between the devices of hosts. What it does at random follows from the seed and the frames. Its
// methods are safe for concurrent use, but for attach and detach of one and the same port.
type Switch struct {
	ports []port
	links [][]atomic.Pointer[Link] // from, to

	mu   sync.Mutex
	late frames
	seq  uint64
	wake chan struct{} // there is an earlier frame than before
	stop chan struct{}
	done chan struct{}
}

type port struct {
	tap    atomic.Pointer[os.File] // nil when the host is off
	rnd    *rand.Rand              // the reader's
	reader chan struct{}           // closed when it has ended
}

// newSwitch is a switch with so many ports and whole links. It must be closed.
func newSwitch(ports int, seed uint64) *Switch {
	s := &Switch{ports: make([]port, ports), links: make([][]atomic.Pointer[Link], ports),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	for i := range s.ports {
		s.ports[i].rnd = rand.New(rand.NewPCG(seed, uint64(i)))
		s.links[i] = make([]atomic.Pointer[Link], ports)
		for j := range s.links[i] {
			s.links[i][j].Store(&Link{})
		}
	}
	go func() {
		defer close(s.done)
		s.deliver()
	}()
	return s
}

// Set makes the link from one host to another such. Frames that are under way arrive as they would have.
func (s *Switch) Set(from, to int, l Link) { s.links[from][to].Store(&l) }

// Link is how the link from one host to another is.
func (s *Switch) Link(from, to int) Link { return *s.links[from][to].Load() }

// attach connects a host's device to a port. The switch closes the file.
func (s *Switch) attach(n int, tap *os.File) {
	p := &s.ports[n]
	p.tap.Store(tap)
	p.reader = make(chan struct{})
	go func() {
		defer close(p.reader)
		s.read(n, tap)
	}()
}

// detach removes the device, which ends with it.
func (s *Switch) detach(n int) error {
	p := &s.ports[n]
	tap := p.tap.Swap(nil)
	if tap == nil {
		return nil
	}
	err := tap.Close()
	<-p.reader
	return err
}

// close ends the switch, whose ports must have been detached.
func (s *Switch) close() {
	close(s.stop)
	<-s.done
}

// read sends what a host sends on its way, until its device is gone.
func (s *Switch) read(from int, tap *os.File) {
	buf := make([]byte, 1<<16)
	for {
		n, err := tap.Read(buf)
		if err != nil {
			return
		}
		if n < 14 { // not even a head
			continue
		}
		frame := buf[:n]
		if to, one := numberOf(frame); !one {
			for to := range s.ports {
				s.carry(from, to, frame)
			}
		} else if to >= 0 && to < len(s.ports) {
			s.carry(from, to, frame)
		}
	}
}

// carry takes a frame, which is good until it returns, from one host to another as the link is. Only the reader of
// from calls it.
func (s *Switch) carry(from, to int, frame []byte) {
	l := s.links[from][to].Load()
	rnd := s.ports[from].rnd
	if from == to || l.Cut || l.Loss > 0 && rnd.Float64() < l.Loss {
		return
	}
	copies := 1
	if l.Duplicate > 0 && rnd.Float64() < l.Duplicate {
		copies = 2
	}
	for range copies {
		d := l.Delay
		if l.Jitter > 0 {
			d += time.Duration(rnd.Int64N(int64(l.Jitter)))
		}
		if d == 0 {
			s.hand(to, frame)
		} else {
			s.later(to, frame, d)
		}
	}
}

// hand gives a host a frame. One whose device is gone, or down, or full, does not get it.
func (s *Switch) hand(to int, frame []byte) {
	if tap := s.ports[to].tap.Load(); tap != nil {
		_, _ = tap.Write(frame)
	}
}

func (s *Switch) later(to int, frame []byte, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.late) >= mostLate {
		return
	}
	s.seq++
	heap.Push(&s.late, lateFrame{time.Now().Add(d), s.seq, to, append([]byte(nil), frame...)})
	if s.late[0].seq == s.seq {
		select {
		case s.wake <- struct{}{}:
		default: // it has been told
		}
	}
}

// deliver hands out delayed frames when they are due.
func (s *Switch) deliver() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(s.due())
		select {
		case <-s.stop:
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// due hands out all that is due, and says when the next will be.
func (s *Switch) due() time.Duration {
	for {
		s.mu.Lock()
		if len(s.late) == 0 {
			s.mu.Unlock()
			return time.Hour
		}
		if wait := time.Until(s.late[0].due); wait > 0 {
			s.mu.Unlock()
			return wait
		}
		f := heap.Pop(&s.late).(lateFrame)
		s.mu.Unlock()
		s.hand(f.to, f.frame)
	}
}

type lateFrame struct {
	due   time.Time
	seq   uint64 // of two that are due at once the first stays the first
	to    int
	frame []byte
}

// frames is a heap: the first is due first.
type frames []lateFrame

func (f frames) Len() int { return len(f) }
func (f frames) Less(i, j int) bool {
	if !f[i].due.Equal(f[j].due) {
		return f[i].due.Before(f[j].due)
	}
	return f[i].seq < f[j].seq
}
func (f frames) Swap(i, j int) { f[i], f[j] = f[j], f[i] }

// Push is container/heap's.
func (f *frames) Push(x any) { *f = append(*f, x.(lateFrame)) }

// Pop is container/heap's.
func (f *frames) Pop() any {
	old := *f
	last := old[len(old)-1]
	old[len(old)-1] = lateFrame{}
	*f = old[:len(old)-1]
	return last
}
