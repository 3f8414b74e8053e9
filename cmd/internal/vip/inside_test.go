package vip

import (
	"net/netip"
	"slices"
	"testing"
)

// Containers behind a bridge may ask, and the host itself; the network that leads to other machines may not.
func TestInside(t *testing.T) {
	newStreet(t)
	nets, err := Inside()
	must(t, err)
	for addr, want := range map[string]bool{"10.88.0.11": true, "10.88.0.1": true, "127.0.0.1": true, hostAddr: true, otherAddr: false, "8.8.8.8": false} {
		ip := netip.MustParseAddr(addr)
		if got := slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(ip) }); got != want {
			t.Errorf("%s is inside: got %v, want %v (of %v)", addr, got, want, nets)
		}
	}
}
