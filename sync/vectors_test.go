package sync

import (
	"testing"
	"time"
)

// Who still has a vector is behind since this host has had another, not since it had that one: it may have been idle.
func TestVectors_left(t *testing.T) {
	var v vectors
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	v.add(1, passed{10, at, false})
	v.add(2, passed{11, at.Add(time.Hour), false})
	if got, want := v.left(1), at.Add(time.Hour); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := v.left(2); !got.Equal(at.Add(time.Hour)) {
		t.Errorf("of the newest: got %v", got)
	}
}
