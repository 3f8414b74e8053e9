package placement

import (
	"testing"
	"time"
	"unsafe"
)

// stepped is the moment at as a wall clock has it that was set by d before: as long after every other moment as it was.
func stepped(t *testing.T, at time.Time, d time.Duration) time.Time {
	t.Helper()
	read := at
	*(*uint64)(unsafe.Pointer(&read)) += uint64(d/time.Second) << 30 // package time gives no way to do that
	if read.Sub(at) != 0 || read.Round(0).Sub(at.Round(0)) != d {
		t.Fatalf("%v, set by %v, is %v", at, d, read)
	}
	return read
}

// For how long a host is silent is measured, whatever the wall clock is set to meanwhile; what is said of it is by the clock as it is now.
func TestMove_clockIsSet(t *testing.T) {
	for _, c := range []struct{ before, after time.Duration }{
		{},
		{before: -490_003 * time.Hour}, // a host that starts in 1970
		{before: time.Hour},
		{after: time.Hour},
		{after: -time.Hour},
	} {
		h := newCluster(t, "a", "b", "c")
		h.deploy("web", 3)
		h.runs("web", "web-0:a web-1:b web-2:c")
		begun := time.Now()
		after := func(d time.Duration) { h.now = stepped(t, begun.Add(d), c.after) }
		h.as.Since = stepped(t, begun, c.before)
		after(20 * time.Second)
		h.hear("a", "c")
		h.peer("b", func(p *Peer) { p.Silent = h.as.Since })
		h.peer("c", func(p *Peer) { p.Since = h.now })
		h.runs("web", "web-0:a web-1:b web-2:c")
		after(59 * time.Second)
		h.runs("web", "web-0:a web-1:b web-2:c")
		end := stepped(t, begun.Add(time.Minute), c.after)
		if got, want := h.stuck("web", 1), "waiting until "+clock(end)+" (host b silent since "+clock(end.Add(-time.Minute))+")"; got != want {
			t.Errorf("%+v: stuck: %q, want %q", c, got, want)
		}
		after(time.Minute)
		h.runs("web", "web-0:a web-1:a web-2:c")
	}
}
