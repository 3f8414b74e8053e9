package manifest

//lint:file-ignore SA1019 EndpointSlices say the same in more words, and it is Endpoints that people write by hand

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func defaultEndpoints(e *corev1.Endpoints) {
	for i := range e.Subsets {
		for j := range e.Subsets[i].Ports {
			or(&e.Subsets[i].Ports[j].Protocol, corev1.ProtocolTCP)
		}
	}
}

func validateEndpoints(e, _ *corev1.Endpoints) field.ErrorList {
	var c checks
	for i := range e.Subsets {
		s, path := &e.Subsets[i], field.NewPath("subsets").Index(i)
		if len(s.Addresses)+len(s.NotReadyAddresses) == 0 {
			c.add(field.Required(path, "must specify `addresses` or `notReadyAddresses`"))
		}
		c.addresses(s.Addresses, path.Child("addresses"))
		c.addresses(s.NotReadyAddresses, path.Child("notReadyAddresses"))
		names := map[string]bool{}
		for j := range s.Ports {
			p, at := &s.Ports[j], path.Child("ports").Index(j)
			if p.Name != "" {
				c.msgs(at.Child("name"), p.Name, utilvalidation.IsDNS1123Label(p.Name))
			} else if len(s.Ports) > 1 {
				c.add(field.Required(at.Child("name"), ""))
			}
			unique(&c, names, at.Child("name"), p.Name)
			c.port(at.Child("port"), p.Port)
			c.protocol(at.Child("protocol"), p.Protocol)
			if a := p.AppProtocol; a != nil {
				c.msgs(at.Child("appProtocol"), *a, utilvalidation.IsQualifiedName(*a))
			}
		}
	}
	return c.errs
}

// addresses checks those of endpoints: what each host would understand as itself is none.
func (c *checks) addresses(all []corev1.EndpointAddress, path *field.Path) {
	for i, a := range all {
		at := path.Index(i).Child("ip")
		c.ip(at, a.IP)
		if ip, err := netip.ParseAddr(a.IP); err == nil && (ip.IsUnspecified() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast()) {
			c.add(field.Invalid(at, a.IP, "may not be unspecified, loopback, link-local or multicast: each host would take it for another"))
		}
	}
}
