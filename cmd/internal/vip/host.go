package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ourProtocol marks routes as ours.
const ourProtocol = 112

// surroundings makes true what the rules build upon: the route that has the virtual addresses be this host's own, the
// resolver's address, and the list of bridges that lead to other machines. Cheap when it is so already. It reports whether
// the table may be written.
func (k *kernel) surroundings() bool {
	if err := steady(func() error { return occupied(k.table.cidr, k.table.resolver) }); err != nil {
		k.rules.found(aboutRoute, "virtual addresses are not served", err)
		return false
	}
	if err := steady(k.connect); err != nil {
		k.rules.found(aboutRoute, "virtual addresses cannot be reached from this host", err)
		return false
	}
	k.rules.problem(aboutRoute, "")
	var outer []string
	err := steady(func() (err error) { outer, err = outerBridges(); return err })
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return true // they are known as they were, and looked at again
	}
	if err != nil {
		k.rules.problem("bridges", fmt.Sprintf("which bridges lead to other machines cannot be seen, and those may reach Services here: %v", err))
	} else {
		k.rules.problem("bridges", "")
		k.keepOut(outer)
	}
	k.forwarding()
	return true
}

// steady looks once more where what was looked at changed meanwhile, as devices do when containers come and go.
func steady(look func() error) error {
	err := look()
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		err = look()
	}
	return err
}

// conflict says that virtual addresses are somebody else's on this host.
type conflict struct{ error }

// found says what is in the way. That things changed while they were looked at is no word on how they are.
func (r *Rules) found(about, what string, err error) {
	switch {
	case errors.Is(err, netlink.ErrDumpInterrupted):
	case errors.As(err, &conflict{}):
		r.problem(about, fmt.Sprintf("%s: %v; start all agents with another --service-cidr", what, err))
	default:
		r.problem(about, fmt.Sprintf("%s: %v", what, err))
	}
}

// connect has the host be where the virtual addresses are. With a route of type local every one of them is, whether
// there is another route or none, and what no rule leads elsewhere ends here.
func (k *kernel) connect() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	routes, err := ours(lo)
	if err != nil {
		return err
	}
	for _, cidr := range routes {
		if cidr == k.table.cidr {
			continue
		}
		if err := disconnect(lo, cidr); err != nil { // of an earlier --service-cidr
			return err
		}
	}
	if !slices.Contains(routes, k.table.cidr) { // else whoever watches routes would be told of news that are none
		if err := netlink.RouteReplace(localRoute(lo, k.table.cidr)); err != nil {
			return fmt.Errorf("route %s to this host: %w", k.table.cidr, err)
		}
	}
	addrs, err := netlink.AddrList(lo, netlink.FAMILY_V4)
	if err == nil && !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IP.Equal(k.table.resolver.AsSlice()) }) {
		err = netlink.AddrReplace(lo, hostAddress(k.table.resolver))
	}
	if err != nil {
		return fmt.Errorf("add the resolver's address %s to lo: %w", k.table.resolver, err)
	}
	return nil
}

// ours gives the networks that routes of ours lead to this host: those of other clusters and earlier configurations as well.
func ours(lo netlink.Link) (all []netip.Prefix, err error) {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4,
		&netlink.Route{LinkIndex: lo.Attrs().Index, Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Protocol: ourProtocol},
		netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, fmt.Errorf("list the routes of this host to itself: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		ip, _ := netip.AddrFromSlice(r.Dst.IP.To4())
		if ones, _ := r.Dst.Mask.Size(); Check(netip.PrefixFrom(ip, ones)) == nil {
			all = append(all, netip.PrefixFrom(ip, ones))
		}
	}
	return all, nil
}

// disconnect removes what connect has made for a network, if it is there.
func disconnect(lo netlink.Link, cidr netip.Prefix) error {
	if err := netlink.AddrDel(lo, hostAddress(Resolver(cidr))); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove the address %s from lo: %w", Resolver(cidr), err)
	}
	if err := netlink.RouteDel(localRoute(lo, cidr)); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove the route of %s to this host: %w", cidr, err)
	}
	return nil
}

func localRoute(lo netlink.Link, cidr netip.Prefix) *netlink.Route {
	return &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipNet(cidr), Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL,
		Scope: netlink.SCOPE_HOST, Protocol: ourProtocol}
}

// hostAddress is of scope host, so that it is never taken for the source of what leaves the host.
func hostAddress(ip netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(ip, 32)), Scope: unix.RT_SCOPE_HOST}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

// occupied says what else on this host has an address, or a route, among the virtual addresses.
func occupied(cidr netip.Prefix, resolver netip.Addr) error {
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list this host's addresses: %w", err)
	}
	for _, a := range addrs {
		if ip, _ := netip.AddrFromSlice(a.IP.To4()); cidr.Contains(ip) && ip != resolver {
			return conflict{fmt.Errorf("this host has the address %s, which lies in %s", a.IPNet, cidr)}
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list this host's routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		ip, _ := netip.AddrFromSlice(r.Dst.IP.To4())
		if ones, _ := r.Dst.Mask.Size(); ones >= cidr.Bits() && cidr.Contains(ip) {
			return conflict{fmt.Errorf("this host has a route to %s, which lies in %s", r.Dst, cidr)}
		}
	}
	return nil
}

// keepOut has the rules know the bridges that lead to other machines.
func (k *kernel) keepOut(outer []string) {
	if slices.Equal(outer, k.outer) {
		return
	}
	k.outer = outer
	if k.written == nil {
		return // they are about to be
	}
	b := &batch{conn: k.conn, table: k.table}
	b.conn.FlushSet(k.table.shared[outside])
	for _, name := range outer {
		b.err(k.conn.SetAddElements(k.table.shared[outside], []nftables.SetElement{{Key: interfaceName(name)}}))
	}
	if k.commit(b) != nil {
		k.written = nil
	}
}

// forwarding says when NodePorts cannot lead to other hosts, or into containers, for want of forwarding. To allow it is not for us:
// it makes a router of the host. Podman does, with its first network.
func (k *kernel) forwarding() {
	var node bool
	for _, ports := range k.written {
		node = node || slices.ContainsFunc(ports, func(p port) bool { return p.node != 0 })
	}
	on, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil || !node || strings.TrimSpace(string(on)) != "0" {
		k.rules.problem("forwarding", "")
		return
	}
	k.rules.problem("forwarding", "NodePorts are not reached from other machines, as this host forwards nothing: Podman allows that with its first bridge network, and so does sysctl net.ipv4.ip_forward=1")
}

// flush has UDP flows to endpoints that take no more be led anew: they have no end by which they would ever leave. ports are
// those to look at, with the endpoints that they have now; with all, they are all there are, and flows to virtual addresses of none
// of them end as well.
func (k *kernel) flush(ports []port, all bool) {
	if f := newFlows(k.table, ports, all); f != nil {
		if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, f); err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			k.rules.problem("flows", fmt.Sprintf("UDP clients of Services may still be sent to replicas that are gone: %v", err))
			return
		}
	}
	k.rules.problem("flows", "")
}

// flows matches the UDP flows that are to be led anew.
type flows struct {
	table *table
	all   bool
	fronts,
	nodes map[netip.AddrPort][]netip.AddrPort // those of nodes without an address
}

// newFlows is nil when there is nothing to look for.
func newFlows(t *table, ports []port, all bool) *flows {
	f := &flows{table: t, all: all, fronts: map[netip.AddrPort][]netip.AddrPort{}, nodes: map[netip.AddrPort][]netip.AddrPort{}}
	for _, p := range ports {
		if p.udp {
			f.fronts[p.front] = p.inside
			if p.node != 0 {
				f.nodes[netip.AddrPortFrom(netip.Addr{}, p.node)] = p.outside
			}
		}
	}
	if len(f.fronts) == 0 && !all {
		return nil
	}
	return f
}

// MatchConntrackFlow says whether a flow is to be led anew.
func (f *flows) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	to, at := addrPort(flow.Forward.DstIP, flow.Forward.DstPort), addrPort(flow.Reverse.SrcIP, flow.Reverse.SrcPort)
	if f.table.cidr.Contains(to.Addr()) {
		if to.Addr() == f.table.resolver {
			return false
		}
		now, ours := f.fronts[to]
		return (ours || f.all) && !slices.Contains(now, at)
	}
	now, ours := f.nodes[netip.AddrPortFrom(netip.Addr{}, to.Port())]
	return ours && to != at && !slices.Contains(now, at)
}

func addrPort(ip net.IP, port uint16) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), port)
}
