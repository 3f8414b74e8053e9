package vip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// proxy serves the virtual addresses from this process.
type proxy struct {
	rules   *Rules
	stands  netip.Prefix
	metrics *Metrics

	work  sync.WaitGroup // whatever was begun
	held  map[discovery.Name][]port
	doors map[door]*entrance
	wrong map[string]string // by door or port, what is in the way
}

// door is where the proxy listens.
type door struct {
	at  netip.AddrPort
	udp bool
}

func (d door) String() string {
	if d.udp {
		return d.at.String() + "/udp"
	}
	return d.at.String() + "/tcp"
}

// entrance is a door that is open, and where what comes in is sent.
type entrance struct {
	to   atomic.Pointer[choice]
	shut func() // nobody comes in any more; TCP connections that are open go on
	turn func() // has flows to those who are in the choice no more be sent elsewhere
}

// choice is who takes what comes in at a door. Only stays changes.
type choice struct {
	port      string // whose it is
	endpoints []netip.AddrPort
	affinity  time.Duration

	mu    sync.Mutex
	stays map[netip.Addr]stayer
	swept time.Time // when those that stay no more were last removed, since there was no room
}

type stayer struct {
	with  netip.AddrPort
	until time.Time
}

// mostStayers is how many clients of one port are remembered.
const mostStayers = 1 << 16

// order gives the endpoints in the order in which they are to be tried for a client.
func (c *choice) order(client netip.Addr) []netip.AddrPort {
	all := slices.Clone(c.endpoints)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.stays[client]; ok && time.Now().Before(s.until) {
		if i := slices.Index(all, s.with); i >= 0 {
			all[0], all[i] = all[i], all[0]
		}
	}
	return all
}

// took notes that the client is with an endpoint.
func (c *choice) took(client netip.Addr, with netip.AddrPort) {
	if c.affinity == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stays == nil {
		c.stays = map[netip.Addr]stayer{}
	}
	if now := time.Now(); len(c.stays) >= mostStayers && now.Sub(c.swept) > time.Second { // not for each connection: that looks at all of them
		c.swept = now
		maps.DeleteFunc(c.stays, func(_ netip.Addr, s stayer) bool { return now.After(s.until) })
	}
	if _, known := c.stays[client]; known || len(c.stays) < mostStayers {
		c.stays[client] = stayer{with, time.Now().Add(c.affinity)}
	}
}

func (p *proxy) run(ctx context.Context) error {
	p.held, p.doors = map[discovery.Name][]port{}, map[door]*entrance{}
	ctx, cancel := context.WithCancel(ctx)
	defer p.work.Wait()
	defer cancel()
	news := make(chan discovery.News)
	p.work.Go(func() {
		follow(ctx, p.rules.Source, func(n discovery.News) {
			select {
			case news <- n:
			case <-ctx.Done():
			}
		})
	})
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, e := range p.doors {
				e.shut()
			}
			return ctx.Err()
		case n := <-news:
			begun := time.Now()
			p.change(ctx, n)
			p.metrics.took(begun)
			p.rules.setReady()
		case <-again.C:
			p.open(ctx)
		}
	}
}

// change takes over what the news have, and opens and shuts doors.
func (p *proxy) change(ctx context.Context, n discovery.News) {
	names := n.Services
	if n.Whole {
		names = slices.Collect(maps.Keys(p.held))
		for s := range n.Table.Services() {
			names = append(names, s.Name)
		}
	}
	for _, name := range names {
		ports := portsOf(n.Service(name), p.rules.Host, fromAfar)
		if slices.EqualFunc(p.held[name], ports, equalPorts) {
			continue
		}
		p.metrics.more(len(ports) - len(p.held[name]))
		if p.held[name] = ports; len(ports) == 0 {
			delete(p.held, name)
		}
	}
	p.open(ctx)
}

// wanted is which doors there are to be, and whose they are. Of two ports with one door the first by name has it, and it is noted in
// wrong that the other has not.
func (p *proxy) wanted(wrong map[string]string) map[door]*choice {
	doors := map[door]*choice{}
	for _, name := range slices.SortedFunc(maps.Keys(p.held), func(a, b discovery.Name) int { return cmp.Compare(a.String(), b.String()) }) {
		for _, w := range p.held[name] {
			add := func(at netip.AddrPort, to []netip.AddrPort) {
				d := door{at, w.udp}
				if other, taken := doors[d]; taken {
					wrong[w.name] = fmt.Sprintf("%s is not served at %s, which is the place of %s: there is one for each only with a --service-cidr of no more addresses than %s", w.name, d, other.port, p.stands)
				} else if len(to) > 0 {
					doors[d] = &choice{port: w.name, endpoints: to, affinity: w.affinity}
				}
			}
			add(netip.AddrPortFrom(Stand(p.rules.CIDR, p.stands, w.front.Addr()), w.front.Port()), w.inside)
			if w.node != 0 {
				add(netip.AddrPortFrom(netip.IPv4Unspecified(), w.node), w.outside)
			}
		}
	}
	return doors
}

// open opens the doors that are to be open, and shuts those that are not: where nobody is to answer nobody listens.
func (p *proxy) open(ctx context.Context) {
	wrong := map[string]string{}
	wanted := p.wanted(wrong)
	for d, e := range p.doors {
		if wanted[d] == nil {
			e.shut()
			delete(p.doors, d)
		}
	}
	for d, c := range wanted {
		if e := p.doors[d]; e != nil {
			was := e.to.Load()
			if was.port == c.port && was.affinity == c.affinity && slices.Equal(was.endpoints, c.endpoints) {
				continue
			}
			was.mu.Lock()
			if was.port == c.port && was.affinity == c.affinity {
				c.stays = maps.Clone(was.stays)
			}
			was.mu.Unlock()
			e.to.Store(c)
			e.turn()
			continue
		}
		e := &entrance{turn: func() {}}
		e.to.Store(c)
		var err error
		if d.udp {
			err = p.openUDP(ctx, d, e)
		} else {
			err = p.openTCP(ctx, d, e)
		}
		switch {
		case err == nil:
			p.doors[d] = e
		case errors.Is(err, syscall.EACCES):
			wrong[d.String()] = fmt.Sprintf("%s is not served at %s: only root may listen below port 1024; sysctl net.ipv4.ip_unprivileged_port_start=%d allows it to all",
				c.port, d, d.at.Port())
		default:
			wrong[d.String()] = fmt.Sprintf("%s is not served at %s: %v", c.port, d, err)
		}
	}
	for what := range p.wrong {
		if wrong[what] == "" {
			p.rules.problem(what, "")
		}
	}
	for what, why := range wrong {
		p.rules.problem(what, why)
	}
	p.wrong = wrong
}

// openTCP listens at the door, and passes each connection on until both sides have said all, one is lost, or ctx ends.
func (p *proxy) openTCP(ctx context.Context, d door, e *entrance) error {
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(d.at))
	if err != nil {
		return err
	}
	e.shut = sync.OnceFunc(func() { l.Close() })
	p.work.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // too many files are open, most likely
				select {
				case <-ctx.Done():
					return
				case <-time.After(100 * time.Millisecond):
				}
				continue
			}
			p.work.Go(func() { pass(ctx, c, e.to.Load()) })
		}
	})
	return nil
}

// tries and patience are how many endpoints are tried for a connection, and for how long each.
const (
	tries    = 3
	patience = 3 * time.Second
)

// pass connects a client with an endpoint. Without one the client's connection is reset.
func pass(ctx context.Context, client *net.TCPConn, to *choice) {
	defer client.Close()
	from := client.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	all := to.order(from)
	for _, at := range all[:min(tries, len(all))] {
		c, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp4", at.String())
		if err != nil {
			continue
		}
		defer c.Close()
		to.took(from, at)
		stop := context.AfterFunc(ctx, func() { client.Close(); c.Close() })
		defer stop()
		converse(client, c.(*net.TCPConn))
		return
	}
	_ = client.SetLinger(0)
}

// converse passes on what each side says until both have ended, or one is lost.
func converse(a, b *net.TCPConn) {
	var both sync.WaitGroup
	one := func(from, to *net.TCPConn) {
		if _, err := to.ReadFrom(from); err != nil || to.CloseWrite() != nil { // the other way makes no sense either
			from.Close()
			to.Close()
		}
	}
	both.Go(func() { one(a, b) })
	both.Go(func() { one(b, a) })
	both.Wait()
}
