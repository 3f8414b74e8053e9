package vip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	idle      = 2 * time.Minute // after which a flow of which nothing was heard ends
	mostFlows = 4096            // of one port; datagrams of more clients are dropped
	datagram  = 64 << 10        // bytes; none is larger
)

// udp is a door for datagrams. Each client has a flow, so that answers find back.
type udp struct {
	proxy *proxy
	conn  *net.UDPConn
	e     *entrance

	mu    sync.Mutex
	flows map[netip.AddrPort]*flow // by client
}

// flow is what passes between a client and an endpoint.
type flow struct {
	conn *net.UDPConn
	with netip.AddrPort
}

// openUDP listens at the door, and passes datagrams on until it is shut.
func (p *proxy) openUDP(ctx context.Context, d door, e *entrance) error {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(d.at))
	if err != nil {
		return err
	}
	u := &udp{proxy: p, conn: c, e: e, flows: map[netip.AddrPort]*flow{}}
	e.shut = sync.OnceFunc(func() {
		c.Close()
		u.end(func(netip.AddrPort) bool { return true })
	})
	e.turn = func() {
		now := e.to.Load().endpoints
		u.end(func(with netip.AddrPort) bool { return !slices.Contains(now, with) })
	}
	p.work.Go(func() { u.listen(ctx) })
	return nil
}

// end ends the flows with such endpoints.
func (u *udp) end(such func(netip.AddrPort) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for client, f := range u.flows {
		if such(f.with) {
			f.conn.Close()
			delete(u.flows, client)
		}
	}
}

func (u *udp) listen(ctx context.Context) {
	b := make([]byte, datagram)
	for {
		n, client, err := u.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			if n == 0 && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				continue // that a client has gone is told here
			}
			u.end(func(netip.AddrPort) bool { return true })
			return
		}
		if f := u.flow(client); f != nil {
			_ = f.conn.SetReadDeadline(time.Now().Add(idle))
			if _, err := f.conn.Write(b[:n]); err != nil { // it is gone: another the next time
				u.forget(client, f)
			}
		}
	}
}

// flow is the client's flow, a new one if it has none; nil when there can be none.
func (u *udp) flow(client netip.AddrPort) *flow {
	u.mu.Lock()
	defer u.mu.Unlock()
	if f := u.flows[client]; f != nil || len(u.flows) >= mostFlows {
		return f
	}
	to := u.e.to.Load()
	at := to.order(client.Addr())[0]
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil
	}
	to.took(client.Addr(), at)
	f := &flow{c, at}
	u.flows[client] = f
	_ = c.SetReadDeadline(time.Now().Add(idle))
	u.proxy.work.Go(func() { u.answer(client, f) })
	return f
}

// answer passes on what the endpoint says, until the flow is idle or ended.
func (u *udp) answer(client netip.AddrPort, f *flow) {
	defer u.forget(client, f)
	b := make([]byte, datagram)
	for {
		n, err := f.conn.Read(b)
		if err != nil {
			return
		}
		_ = f.conn.SetReadDeadline(time.Now().Add(idle))
		if _, err := u.conn.WriteToUDPAddrPort(b[:n], client); errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

func (u *udp) forget(client netip.AddrPort, f *flow) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f.conn.Close()
	if u.flows[client] == f {
		delete(u.flows, client)
	}
}
