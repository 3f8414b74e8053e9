package dns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// The agent itself is told what its containers are: names of Services, IPv4 first, and of others those of the list. It needs no socket for that, and who has gone
// away takes no answer from others.
func TestServer_lookup(t *testing.T) {
	o := resolver(t, world)
	src := &source{}
	var list atomic.Value
	list.Store("www.example.com")
	s := &Server{Source: src, Upstream: []netip.AddrPort{o.at}, Allowed: func(name string) bool { return name == list.Load() }}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}()
	if _, err := s.Lookup(t.Context(), "web.default.svc.cluster.local"); err == nil || !strings.Contains(err.Error(), "reading its log") {
		t.Errorf("before there is a table: got %v", err)
	}
	src.Store(discovery.NewTable(some(), nil))
	until(t, func() bool { return len(s.upstreams.order(time.Now())) > 0 })
	gone, leave := context.WithCancel(t.Context())
	leave()
	for name, want := range map[string]string{
		"web.default.svc.cluster.local":     "[10.96.1.2]",
		"Web.default.svc.cluster.local.":    "[10.96.1.2]",
		"web.default.svc":                   "[10.96.1.2]",
		"six.default.svc.cluster.local":     "[fd00::10]",
		"given.default.svc.cluster.local":   "[203.0.113.7 2001:db8::7]",
		"alias.default.svc.cluster.local":   "[10.96.1.2]",
		"www.example.com":                   "[192.0.2.53]",
		"out.default.svc.cluster.local":     "[192.0.2.53]",
		"nothing.default.svc.cluster.local": "look up nothing.default.svc.cluster.local: NXDOMAIN",
		"default.svc.cluster.local":         "look up default.svc.cluster.local: it has no address",
		"round.default.svc.cluster.local":   "look up round.default.svc.cluster.local: ExternalName Services stand for one another",
		"web.example.com":                   "look up web.example.com: not on the cluster's list of allowed names: psctl dns list",
	} {
		all, err := s.Lookup(gone, name)
		got := fmt.Sprint(all)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	list.Store("")
	if got, err := s.Lookup(t.Context(), "www.example.com"); err == nil {
		t.Errorf("a name that is not allowed any more: got %v", got)
	}
}
