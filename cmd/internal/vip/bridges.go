package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// outerBridges names the bridges that lead to other machines: with a port that is no veth, as that of a network card or of a
// virtual machine, or on the way to everywhere else.
func outerBridges() ([]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, err
	}
	outer := map[int]bool{}
	for _, l := range links {
		if m := l.Attrs().MasterIndex; m != 0 && l.Type() != "veth" {
			outer[m] = true
		}
	}
	for _, r := range routes {
		if r.Dst == nil || r.Dst.IP.IsUnspecified() {
			outer[r.LinkIndex] = true
		}
	}
	var names []string
	for _, l := range links {
		if l.Type() == "bridge" && outer[l.Attrs().Index] {
			names = append(names, l.Attrs().Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// reflect has containers reach themselves through a Service that they are behind. Where bridges ask the rules of IP as well
// (bridge-nf-call-iptables, as Docker wants it), a packet that was led from a container to itself is never routed: the bridge would send it
// out where it came in, which it does only at ports that are told to (hairpin). Netavark does not tell them. It is done for the bridges
// of this host's endpoints in ports, and goes with the container; not for those that lead to other machines, where ports are other people's.
func (k *kernel) reflect(ports []port) {
	if on, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables"); err != nil || strings.TrimSpace(string(on)) != "1" {
		return
	}
	if err := steady(func() error { return reflectAt(ports, k.outer) }); errors.Is(err, netlink.ErrDumpInterrupted) {
		return
	} else if err != nil {
		k.rules.problem("reflect", fmt.Sprintf("a container that asks a Service which it is behind itself may wait in vain: %v", err))
		return
	}
	k.rules.problem("reflect", "")
}

func reflectAt(ports []port, outer []string) error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	with := map[int]bool{} // bridges
	for _, l := range links {
		if l.Type() != "bridge" || slices.Contains(outer, l.Attrs().Name) {
			continue
		}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		with[l.Attrs().Index] = slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
			return slices.ContainsFunc(ports, func(p port) bool {
				return slices.ContainsFunc(p.own, func(e netip.AddrPort) bool { return a.IPNet.Contains(e.Addr().AsSlice()) })
			})
		})
	}
	for _, l := range links {
		if l.Type() != "veth" || !with[l.Attrs().MasterIndex] {
			continue
		}
		if is, err := netlink.LinkGetProtinfo(l); err == nil && is.Hairpin {
			continue
		}
		if err := netlink.LinkSetHairpin(l, true); err != nil {
			return fmt.Errorf("have the bridge send back at %s what came in there: %w", l.Attrs().Name, err)
		}
	}
	return nil
}
