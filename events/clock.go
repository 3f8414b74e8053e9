package events

import (
	"sync"
	"time"
)

// Clock is a hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014): it never goes back, not even
// when the wall clock does, and it moves past every stamp it is told of. Safe for concurrent use.
//
// It holds nothing on disk. Whoever opens a log witnesses the newest own stamp in it before asking for a new one.
type Clock struct {
	now  func() time.Time
	mu   sync.Mutex
	last Time
}

// NewClock returns a clock that reads the wall clock through now; nil means time.Now.
func NewClock(now func() time.Time) *Clock {
	if now == nil {
		now = time.Now
	}
	return &Clock{now: now}
}

// After returns a time greater than every one that the clock itself gave or was moved past before, and greater than
// seen, that of the version about to be replaced, so that the new version wins over it. A seen time ahead of the
// clock raises this one answer and not the clock, so one wrong stamp does not spread to other objects. It is greater than
// LastTime only where nothing is left between seen and that.
func (c *Clock) After(seen Time) Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(TimeOf(c.now()), c.last+1)
	if c.last > seen {
		return c.last
	}
	// How far past seen depends on what this clock shows: where a disk was put back, what is made on either side of one version must not be
	// stamped alike, since stamps tell the two apart. By up to 65,535 ticks, which are a millisecond.
	ticks := Time(uint64(c.last) * 0x9e3779b97f4a7c15 >> 48)
	return max(seen+1, min(seen+1+ticks, LastTime))
}

// Witness moves the clock past t, but at most to limit ahead of the wall clock: hearing a host whose clock is
// wrong must not make this one wrong as well. It reports whether t was within the limit.
func (c *Clock) Witness(t Time, limit time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	most := TimeOf(c.now().Add(limit))
	c.last = max(c.last, min(t, most))
	return t <= most
}
