package mesh

import (
	"encoding/json"
	"errors"
	"fmt"
)

// NATS tells of a peer's address only to those who have not yet a route to it, and tells nobody whom the address
// belongs to. So each host says where it is, to all whenever somebody has come.

// whereabouts is what a host says of itself on the subject swarm.1.CLUSTER.route.
type whereabouts struct {
	Node string `json:"node"`
	Addr string `json:"addr"`
}

func (m *Mesh) addressSubject() string { return "swarm.1." + m.Cluster + ".route" }

// exchangeAddresses remembers where the other hosts say they are.
func (m *Mesh) exchangeAddresses() (stop func(), err error) {
	return m.Subscribe(m.addressSubject(), func(_ string, data []byte) {
		var w whereabouts
		err := json.Unmarshal(data, &w)
		if err == nil && (w.Node == "" || w.Node == m.Node) {
			err = fmt.Errorf("it is of %q", w.Node)
		}
		if err == nil {
			err = dialable(w.Addr)
		}
		if err == nil {
			err = m.known.learn(w.Node, w.Addr)
		}
		if err != nil {
			m.log.say(warn, "an address is not remembered", err.Error(), "err", err)
		}
	})
}

func (m *Mesh) sayAddress() {
	data, err := json.Marshal(whereabouts{m.Node, m.advertise})
	if err == nil {
		err = m.Publish(m.addressSubject(), data)
	}
	if err != nil && m.ctx.Err() == nil {
		m.log.say(warn, "cannot say where we are", "", "err", err)
	}
}

// Forget gives up a host that is gone for good: its address is not kept, nor dialled any longer because it was kept or
// was one of Peers, unless another host has that address by now; and a route to it ends. Whether it may dial us again is up
// to the TLS configuration.
func (m *Mesh) Forget(node string) error {
	addr, others, err := m.known.forget(node)
	if m.front == nil {
		return err
	}
	routes := m.Routes()
	// That the file cannot be written, as on a full disk, is no reason to keep the route.
	if addr != "" && addr != m.advertise && !passedOn(addr, node, others, routes) {
		// A route that gossip found ends, and stays away, only if it was configured and is so no longer.
		err = errors.Join(err, m.reroute(func(routes map[string]bool) { routes[addr] = true }),
			m.reroute(func(routes map[string]bool) { delete(routes, addr) }))
	}
	for _, r := range routes {
		if r.Node == node && !r.Dialed {
			m.front.hangUp(r.Addr)
		}
	}
	return err
}

// passedOn reports whether the address of a host is another's by now: whom a route there leads to is surer than who was last heard
// to be there. others says whether any other was.
func passedOn(addr, node string, others bool, routes []Route) bool {
	for _, r := range routes {
		switch {
		case !r.Dialed:
		case r.Addr == addr:
			return r.Node != node
		case r.Node == node: // by a name, or at another address
			others = false
		}
	}
	return others
}
