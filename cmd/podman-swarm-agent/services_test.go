package main

import (
	"context"
	"log/slog"
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
