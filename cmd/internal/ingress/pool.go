package ingress

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// An endpoint that could not be reached is passed over for a second, doubling to this with each further time.
const passedOverAtMost = 16 * time.Second

// pools are the endpoints behind the ports that requests have gone to. They are made when they are needed: a change of a
// Service costs nothing here until there is a request for it.
type pools struct {
	host string // this one
	mu   sync.Mutex
	all  map[poolKey]*pool
}

type poolKey struct {
	service discovery.Name
	name    string
	number  int32
}

// pool is the ready endpoints of a Service's port at one moment. What it holds of each outlives it. Immutable but for turn.
type pool struct {
	of        *discovery.Service
	protocol  protocol
	endpoints []*endpointState
	affine    bool // each client keeps to one
	turn      atomic.Uint32
}

// endpointState is what is known here of an endpoint.
type endpointState struct {
	address string // as it is dialled
	hash    uint64 // of the address that all hosts know it by

	outstanding atomic.Int64 // requests that it has not answered to the end
	dead        atomic.Int64 // until then it is passed over: Unix time, nanoseconds
	failed      atomic.Int32 // times in a row that it could not be reached
	counted     atomic.Int64 // the last of them: Unix time, nanoseconds
}

// of gives the pool of a route, nil where the Service, or its port, is not there.
func (p *pools) of(t *discovery.Table, r *Route) *pool {
	s := t.Service(r.Service)
	if s == nil {
		return nil
	}
	key := poolKey{r.Service, r.PortName, r.PortNumber}
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.all[key]
	if old != nil && old.of == s {
		return old
	}
	now := newPool(s, key, p.host, old)
	if now == nil {
		delete(p.all, key)
		return nil
	}
	p.all[key] = now
	return now
}

// keep forgets the pools of Services that are not in the table.
func (p *pools) keep(t *discovery.Table) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.all {
		if t.Service(key.service) == nil {
			delete(p.all, key)
		}
	}
}

func newPool(s *discovery.Service, key poolKey, host string, old *pool) *pool {
	now := &pool{of: s, affine: s.Spec != nil && s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP}
	known := map[string]*endpointState{}
	if old != nil {
		now.turn.Store(old.turn.Load())
		for _, e := range old.endpoints {
			known[e.address] = e
		}
	} else {
		now.turn.Store(rand.Uint32()) // so that the hosts do not all begin with the same
	}
	add := func(address, everywhere string) {
		e := known[address]
		if e == nil {
			h := fnv.New64a()
			h.Write([]byte(everywhere))
			e = &endpointState{address: address, hash: h.Sum64()}
		}
		now.endpoints = append(now.endpoints, e)
	}
	port := s.Port(key.name, key.number)
	if port != nil {
		now.protocol = protocolOf(port.AppProtocol)
	}
	if name := s.External(); name != "" {
		if isAddress(name) {
			return nil // an address is no name: endpoints by hand are for those, and are checked
		}
		number := int(key.number)
		if port != nil {
			number = int(port.Port)
		}
		if number == 0 {
			return nil
		}
		at := net.JoinHostPort(name, strconv.Itoa(number))
		add(at, at)
		return now
	}
	if port == nil {
		return nil
	}
	for e := range port.Ready() {
		everywhere := e.Address
		if !everywhere.IsValid() { // only this host reaches it
			everywhere = e.Local
		}
		add(e.On(host).String(), everywhere.String())
	}
	return now
}

// pick chooses an endpoint for a request of a client, nil when there is none that is not in tried.
//
// The next in turn and another one are looked at, and the one with fewer requests outstanding is taken. With affinity it is the one that the hash
// of client and endpoint says, so that all hosts send a client to the same, and an endpoint that comes or goes moves few. Those that could not be reached lately are
// passed over, unless all are; when the time is over, one request tries.
func (p *pool) pick(client netip.Addr, tried []*endpointState) *endpointState {
	if p.affine {
		return p.pickFor(client, tried)
	}
	n := uint32(len(p.endpoints))
	if n == 0 {
		return nil
	}
	now := time.Now().UnixNano()
	turn := p.turn.Add(1)
	var last *endpointState // of those passed over
	for k := range n {
		e := p.endpoints[(turn+k)%n]
		if slices.Contains(tried, e) {
			continue
		}
		if !e.alive(now) {
			if last == nil || e.dead.Load() < last.dead.Load() {
				last = e
			}
			continue
		}
		if n > 2 {
			o := p.endpoints[rand.Uint32N(n)]
			if o != e && o.outstanding.Load() < e.outstanding.Load() && o.dead.Load() == 0 && !slices.Contains(tried, o) {
				return o
			}
		} else if n == 2 {
			o := p.endpoints[(turn+k+1)%n]
			if o.outstanding.Load() < e.outstanding.Load() && o.dead.Load() == 0 && !slices.Contains(tried, o) {
				return o
			}
		}
		return e
	}
	return last
}

// pickFor is pick for a client that is to keep to one endpoint.
func (p *pool) pickFor(client netip.Addr, tried []*endpointState) (best *endpointState) {
	of := fnv.New64a()
	b := client.As16()
	of.Write(b[:])
	now, c := time.Now().UnixNano(), of.Sum64()
	var highest uint64
	bestAlive := false
	for _, e := range p.endpoints {
		if slices.Contains(tried, e) {
			continue
		}
		alive, weight := e.dead.Load() <= now, mix(c^e.hash)
		if best == nil || alive && !bestAlive || alive == bestAlive && weight > highest {
			best, bestAlive, highest = e, alive, weight
		}
	}
	if best != nil {
		best.alive(now)
	}
	return best
}

// mix spreads the bits of a number over all of it.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// alive reports whether the endpoint may be sent to. When it has been passed over for long enough, it says so to one caller, who tries.
func (e *endpointState) alive(now int64) bool {
	until := e.dead.Load()
	return until == 0 || until <= now && e.dead.CompareAndSwap(until, now+int64(e.pause()))
}

func (e *endpointState) pause() time.Duration {
	return min(time.Second<<min(max(e.failed.Load()-1, 0), 10), passedOverAtMost)
}

// unreachable notes that the endpoint could not be connected to, by who began to try at that moment, and says for how long it is passed over and
// whether this is the first time. Those who tried while another did have seen the same failure, which counts once.
func (e *endpointState) unreachable(began time.Time) (d time.Duration, first bool) {
	last, now := e.counted.Load(), time.Now()
	if began.UnixNano() <= last || !e.counted.CompareAndSwap(last, now.UnixNano()) {
		return e.pause(), false
	}
	first = e.failed.Add(1) == 1
	d = e.pause()
	e.dead.Store(now.Add(d).UnixNano())
	return d, first
}

// reached notes that the endpoint could be.
func (e *endpointState) reached() {
	if e.dead.Load() != 0 {
		e.failed.Store(0)
		e.dead.Store(0)
	}
}

// dialError says that no connection came about, so that nothing of a request has been sent.
type dialError struct{ error }

// Unwrap gives what was wrong.
func (d dialError) Unwrap() error { return d.error }

// dial connects to an endpoint. One with a name is that of an ExternalName Service: the first of its addresses that answers is taken.
func (s *Server) dial(ctx context.Context, network, address string) (net.Conn, error) {
	end := time.Now().Add(dialTimeout)
	d := net.Dialer{KeepAlive: 15 * time.Second}
	all := []string{address}
	if _, err := netip.ParseAddrPort(address); err != nil {
		d.Control = outside
		if all, err = s.named(ctx, address); err != nil {
			return nil, dialError{err}
		}
	}
	var wrong error
	for i, at := range all {
		d.Deadline = time.Now().Add(time.Until(end) / time.Duration(len(all)-i)) // one that is silent leaves the others their part of it
		c, err := d.DialContext(ctx, network, at)
		if err == nil {
			return c, nil
		}
		wrong = cmp.Or(wrong, err)
	}
	return nil, dialError{wrong}
}

// named is where the endpoint of an ExternalName Service is: at least one address, with the port.
func (s *Server) named(ctx context.Context, endpoint string) (all []string, err error) {
	name, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return nil, err
	}
	if s.Lookup == nil {
		return nil, fmt.Errorf("look up %s: nobody is there to ask", name)
	}
	found, err := s.Lookup(ctx, name)
	for _, ip := range found {
		all = append(all, net.JoinHostPort(ip.String(), port))
	}
	return all, err
}

// outside refuses what is not to be reached by a name: were it the loopback, whoever may ask the ingress could do what only this host
// may, with the agent's own API first of all; were it link-local, what the host's provider tells it alone.
func outside(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := at.Addr().Unmap(); ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() {
		return fmt.Errorf("%s is for this host alone, and no target of an ExternalName", ip)
	}
	return nil
}
