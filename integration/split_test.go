package integration

import "testing"

// TestSplit_short is a small `task split`: three hosts with a network and a Podman of their own, under load, through two
// random disasters.
func TestSplit_short(t *testing.T) {
	program(t, "split", "-rounds", "2", "-longest", "5s")
}

// TestDrill_short is a small `task drill`: three hosts, restored to random moments of their past and back.
func TestDrill_short(t *testing.T) {
	program(t, "drill", "-changes", "300", "-moments", "5", "-backup-interval", "1s")
}
