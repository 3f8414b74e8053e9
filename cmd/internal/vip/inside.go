package vip

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// Inside are the networks from which this host's resolver may be asked: those of its bridges that lead to no other machine, where
// its containers are, and its own addresses.
func Inside() (all []netip.Prefix, err error) {
	err = steady(func() error { all, err = inside(); return err })
	return all, err
}

func inside() (all []netip.Prefix, err error) {
	outer, err := outerBridges()
	if err != nil {
		return nil, err
	}
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list this host's network devices: %w", err)
	}
	for _, l := range links {
		addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
		if err != nil {
			return nil, fmt.Errorf("list the addresses of %s: %w", l.Attrs().Name, err)
		}
		for _, a := range addrs {
			ip, _ := netip.AddrFromSlice(a.IP.To4())
			bits, _ := a.Mask.Size()
			if l.Type() != "bridge" || slices.Contains(outer, l.Attrs().Name) {
				bits = 32
			}
			all = append(all, netip.PrefixFrom(ip, bits).Masked())
		}
	}
	return all, nil
}
