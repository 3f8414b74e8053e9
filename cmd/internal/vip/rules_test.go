package vip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// tables is a discovery.Source that holds what the test says.
type tables struct {
	mu      sync.Mutex
	all     map[discovery.Name]*discovery.Service
	table   *discovery.Table
	before  *discovery.Table
	changed []discovery.Name
	next    chan struct{}

	forgetful bool // it never knows what has changed
}

func newTables() *tables {
	return &tables{all: map[discovery.Name]*discovery.Service{}, table: discovery.NewTable(nil, nil), next: make(chan struct{})}
}

func (s *tables) Table() *discovery.Table {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table
}

func (s *tables) Next(ctx context.Context, after *discovery.Table) (discovery.News, error) {
	for {
		s.mu.Lock()
		table, before, changed, next := s.table, s.before, s.changed, s.next
		s.mu.Unlock()
		switch {
		case after == table:
		case after != nil && after == before && !s.forgetful:
			return discovery.News{Table: table, Services: changed}, nil
		default:
			return discovery.News{Table: table, Whole: true}, nil
		}
		select {
		case <-ctx.Done():
			return discovery.News{}, ctx.Err()
		case <-next:
		}
	}
}

// set makes a Service what is given, or removes it when that is nil.
func (s *tables) set(name string, service *discovery.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := discovery.Name{Namespace: "default", Name: name}
	if s.all[n] = service; service == nil {
		delete(s.all, n)
	}
	var all []*discovery.Service
	for _, service := range s.all {
		all = append(all, service)
	}
	s.before, s.table, s.changed = s.table, discovery.NewTable(all, nil), []discovery.Name{n}
	close(s.next)
	s.next = make(chan struct{})
}

// service is a Service with one port, 80, of that protocol.
func service(name, ip, protocol string, endpoints ...discovery.Endpoint) *discovery.Service {
	p := corev1.ProtocolTCP
	if protocol == "udp" {
		p = corev1.ProtocolUDP
	}
	return &discovery.Service{Name: discovery.Name{Namespace: "default", Name: name}, IP: netip.MustParseAddr(ip),
		Spec:  &corev1.ServiceSpec{},
		Ports: []discovery.Port{{Protocol: p, Port: 80, Endpoints: endpoints}}}
}

// here is a replica in a container of this host, which others reach at an address where nothing is; there is one on another.
func here(at netip.AddrPort) discovery.Endpoint {
	return discovery.Endpoint{Address: netip.MustParseAddrPort("192.0.2.9:9"), Local: at, Host: "h1", Ready: true}
}

func there(at netip.AddrPort) discovery.Endpoint {
	return discovery.Endpoint{Address: at, Local: netip.MustParseAddrPort("192.0.2.9:9"), Host: "h2", Ready: true}
}

// start runs the rules until stop is called, or the test ends. On return they are ready.
func start(t testing.TB, r *Rules) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-r.Ready():
	case <-time.After(time.Minute):
		t.Fatalf("not ready: %v", r.Problems())
	}
	return stop
}

func newRules(t testing.TB, source discovery.Source, mode Mode) *Rules {
	t.Helper()
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	if mode == Kernel {
		t.Cleanup(func() { must(t, Cleanup("test")) })
	}
	return &Rules{Source: source, Host: "h1", Cluster: "test", CIDR: cidr, Mode: mode,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))}
}

// answers waits until those that answer at an address, asked again and again, are these.
func answers(t testing.TB, in *space, network string, to netip.AddrPort, want ...string) {
	t.Helper()
	slices.Sort(want)
	eventually(t, func() error {
		got := map[string]bool{}
		for range 8 * max(4, len(want)) { // of two that answer, one alone does so often by chance once in 2^31 times
			name, _, err := once(in, network, to)
			if err != nil {
				return err
			}
			got[name] = true
		}
		for _, w := range want {
			if !got[w] {
				return fmt.Errorf("%s answers at %s, want all of %v", fmt.Sprint(got), to, want)
			}
		}
		if len(got) != len(want) {
			return fmt.Errorf("%v answer at %s, want %v", got, to, want)
		}
		return nil
	})
}

// refused waits until who asks at an address is told at once that nobody answers.
func refused(t testing.TB, in *space, network string, to netip.AddrPort) {
	t.Helper()
	eventually(t, func() error {
		name, _, err := once(in, network, to)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("%s answers at %s with %v, want it refused", name, to, err)
		}
		return nil
	})
}

func TestKernel_reached(t *testing.T) {
	s := newStreet(t)
	source := newTables()
	start(t, newRules(t, source, Kernel))
	for i, network := range []string{"tcp", "udp"} {
		front := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, 1, byte(i)}), 80)
		a, b := serve(t, s.c1, network, "10.88.0.11:8080", "a"), serve(t, s.c2, network, "10.88.0.12:8080", "b")
		far := serve(t, s.other, network, otherAddr+":20001", "far")
		source.set(network, service(network, front.Addr().String(), network, here(a.at), here(b.at), there(far.at)))
		t.Run(network, func(t *testing.T) {
			t.Run("from the host", func(t *testing.T) { answers(t, s.host, network, front, "a", "b", "far") })
			t.Run("from a container, itself among them", func(t *testing.T) { answers(t, s.c1, network, front, "a", "b", "far") })
			t.Run("none left", func(t *testing.T) {
				source.set(network, service(network, front.Addr().String(), network))
				refused(t, s.host, network, front)
				refused(t, s.c1, network, front)
			})
			t.Run("nobody's address", func(t *testing.T) {
				serve(t, s.host, network, "0.0.0.0:80", "who listens at all addresses")
				nobody := netip.MustParseAddrPort("10.96.9.9:80")
				refused(t, s.host, network, nobody)
				refused(t, s.c1, network, nobody)
			})
		})
	}
}
