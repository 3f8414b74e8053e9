package integration

import "testing"

// TestSplit_short is a small `task split`, with each host a cluster of its own.
func TestSplit_short(t *testing.T) {
	program(t, "split", "-alone", "-hosts", "2", "-rounds", "2", "-longest", "2s")
}
