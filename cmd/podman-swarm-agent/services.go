package main

import (
	"fmt"
	"net/netip"
	"os"
)

// none turns a part off that is on unless told.
const none = "none"

// asRoot is what a flag is unless told: the ports below 1024 are root's.
func asRoot(addr string) string {
	if os.Geteuid() == 0 {
		return addr
	}
	return none
}

// checkServices gives the mistakes in what is said of Services and Ingresses.
func (c *config) checkServices() (errs []error) {
	wrong := func(flag, value, want string) {
		errs = append(errs, fmt.Errorf("--%s %q: %s", flag, value, want))
	}
	if c.ServiceCIDR != none {
		p, err := netip.ParsePrefix(c.ServiceCIDR)
		switch {
		case err != nil || !p.Addr().Is4():
			wrong("service-cidr", c.ServiceCIDR, "want IPv4 addresses like 10.96.0.0/12, or none")
		case p != p.Masked():
			wrong("service-cidr", c.ServiceCIDR, "want "+p.Masked().String())
		case p.Bits() < 8 || p.Bits() > 24:
			wrong("service-cidr", c.ServiceCIDR, "want between 256 and 16,777,216 addresses: /24 to /8")
		default:
			c.cidr = p
		}
	}
	for _, a := range []struct{ flag, value string }{{"ingress-http", c.IngressHTTP}, {"ingress-https", c.IngressHTTPS}} {
		if a.value != none && !hostPort(a.value) {
			wrong(a.flag, a.value, "want host:port, as in :80, or none")
		}
	}
	return errs
}
