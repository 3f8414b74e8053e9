package main

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/vip"
)

// That Services cannot have addresses now, as while the kernel's part for packet rules is not there yet, is no word on later.
func TestServices_addressesAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &agent{c: &config{}, log: slog.New(slog.DiscardHandler)}
		a.services.stuck = map[string]string{}
		a.services.rules = &vip.Rules{} // without a network: Run fails
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.address(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("it was given up: %v", err)
		default:
		}
		if p := a.services.problems(); len(p) != 1 || p[0].What != "--service-cidr" {
			t.Errorf("got problems %+v", p)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Reverse names of containers' networks are told here alone; that of the host's own address, elsewhere.
func TestNeighbours_containers(t *testing.T) {
	n := &neighbours{at: time.Now(), nets: []netip.Prefix{netip.MustParsePrefix("10.88.0.0/16"), netip.MustParsePrefix("192.0.2.7/32")}}
	if got := n.containers(); len(got) != 1 || got[0].String() != "10.88.0.0/16" {
		t.Errorf("got %v", got)
	}
	if got := n.containers(); len(got) != 1 || !n.has(netip.MustParseAddr("192.0.2.7")) {
		t.Errorf("then got %v of %v", got, n.nets)
	}
}
