package discovery

//lint:file-ignore SA1019 EndpointSlices say the same in more words, and it is Endpoints that people write by hand

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// followGiven takes over the Endpoints that somebody has written for a Service.
func (b *book) followGiven(st *projection.State, key string, n Name) {
	b.dirty[n] = true
	delete(b.given, n)
	shown, ok := st.Lookup(key)
	if !ok {
		return
	}
	o, err := manifest.Decode("endpoints", shown.Version.Object)
	e, ok := o.(*corev1.Endpoints)
	if err != nil || !ok {
		b.log.Error("Endpoints cannot be read, and lead nowhere", "endpoints", n.String(), "error", err)
		return
	}
	manifest.Default(e)
	b.given[n] = e.Subsets
}

// give puts what is given by hand behind the ports of a Service that selects nothing: to each port what is given for one of its
// name and protocol, and to a Service without ports all.
func (b *book) give(s *Service) {
	for i := range s.Ports {
		port := &s.Ports[i]
		for _, sub := range b.given[s.Name] {
			for _, p := range sub.Ports {
				if p.Name == port.Name && p.Protocol == port.Protocol {
					port.given(sub.Addresses, p.Port, true)
					port.given(sub.NotReadyAddresses, p.Port, s.Spec.PublishNotReadyAddresses)
				}
			}
			if port.Port == 0 {
				port.given(sub.Addresses, 0, true)
				port.given(sub.NotReadyAddresses, 0, s.Spec.PublishNotReadyAddresses)
			}
		}
		slices.SortFunc(port.Endpoints, func(a, b Endpoint) int { return a.Address.Compare(b.Address) })
	}
}

func (p *Port) given(all []corev1.EndpointAddress, port int32, ready bool) {
	for _, a := range all {
		if ip, err := netip.ParseAddr(a.IP); err == nil {
			p.Endpoints = append(p.Endpoints, Endpoint{Address: netip.AddrPortFrom(ip.Unmap(), uint16(port)), Ready: ready})
		}
	}
}

// ingressOf reads an Ingress; nil when there is none, or none that can be read.
func (b *book) ingressOf(st *projection.State, n Name) *Ingress {
	shown, ok := st.Lookup("ingress/" + n.String())
	if !ok {
		return nil
	}
	o, err := manifest.Decode("ingress", shown.Version.Object)
	i, ok := o.(*networkingv1.Ingress)
	if err != nil || !ok {
		b.log.Error("an Ingress cannot be read, and leads nowhere", "ingress", n.String(), "error", err)
		return nil
	}
	manifest.Default(i)
	return &Ingress{Name: n, UID: shown.UID, Created: i.CreationTimestamp.UTC(), Spec: &i.Spec}
}
