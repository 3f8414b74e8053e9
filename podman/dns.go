package podman

import (
	"net/netip"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// clusterDomain is the domain that all names of the cluster are under.
const clusterDomain = "cluster.local"

// Where a host says how it finds names, and where systemd-resolved says what it asks itself: what listens on the host's own
// loopback cannot be asked from a container.
const (
	resolvConf        = "/etc/resolv.conf"
	systemdResolvConf = "/run/systemd/resolve/resolv.conf"
)

// naming is how a program finds names.
type naming struct {
	servers, searches []string
	options           []string // NAME or NAME:VALUE
}

// hostNaming is how the host itself finds names, as far as a container can do the same. A file that cannot be read says nothing.
func hostNaming(hostNetwork bool) naming {
	n := readNaming(resolvConf)
	if hostNetwork {
		return n
	}
	if others := slices.DeleteFunc(slices.Clone(n.servers), loopback); len(others) > 0 {
		n.servers = others
		return n
	}
	n.servers = slices.DeleteFunc(readNaming(systemdResolvConf).servers, loopback)
	return n
}

func loopback(server string) bool {
	a, err := netip.ParseAddr(server)
	return err == nil && a.IsLoopback()
}

func readNaming(file string) naming {
	b, err := os.ReadFile(file)
	if err != nil {
		return naming{}
	}
	return parseNaming(string(b))
}

// parseNaming reads a resolv.conf.
func parseNaming(text string) (n naming) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || strings.HasPrefix(words[0], "#") || strings.HasPrefix(words[0], ";") {
			continue
		}
		switch words[0] {
		case "nameserver":
			n.servers = append(n.servers, words[1])
		case "search", "domain": // the last one counts
			n.searches = slices.DeleteFunc(words[1:], func(s string) bool { return s == "." })
		case "options":
			n.options = words[1:]
		}
	}
	return n
}

// naming fills in how the pod finds names: by its DNS policy, with what it says itself added as in Kubernetes. What is left
// empty is Podman's to fill in, with what the host has.
func (p *pod) naming(s *Spec, resolver netip.Addr, host func(hostNetwork bool) naming) {
	var n naming
	own := p.spec.DNSConfig
	cluster := p.spec.DNSPolicy == corev1.DNSClusterFirstWithHostNet ||
		!p.spec.HostNetwork && (p.spec.DNSPolicy == corev1.DNSClusterFirst || p.spec.DNSPolicy == "")
	switch {
	case p.spec.DNSPolicy == corev1.DNSNone:
	case cluster && resolver.IsValid():
		svc := "svc." + clusterDomain
		n.servers = []string{resolver.String()}
		n.searches = append([]string{p.placed.Pod.Namespace + "." + svc, svc, clusterDomain}, host(p.spec.HostNetwork).searches...)
		// The agent may be restarted meanwhile. 10 s in all for glibc; musl makes of timeout what there is for all attempts.
		n.options = []string{"ndots:5", "timeout:5", "attempts:2"}
	case own == nil:
		return
	default:
		n = host(p.spec.HostNetwork)
	}
	if own != nil {
		n.servers = append(n.servers, own.Nameservers...)
		n.searches = append(n.searches, own.Searches...)
		for _, o := range own.Options {
			n.set(o)
		}
	}
	s.DNSServers, s.DNSSearch, s.DNSOptions = once(n.servers), once(n.searches), n.options
	if len(s.DNSSearch) == 0 {
		s.DNSSearch = []string{"."} // Podman's word for "not those of the host"
	}
}

// set adds an option; one of that name that is there gives way.
func (n *naming) set(o corev1.PodDNSConfigOption) {
	n.options = slices.DeleteFunc(slices.Clone(n.options), func(has string) bool {
		name, _, _ := strings.Cut(has, ":")
		return name == o.Name
	})
	text := o.Name
	if o.Value != nil && *o.Value != "" {
		text += ":" + *o.Value
	}
	n.options = append(n.options, text)
}

// once leaves out what has been there before.
func once(all []string) (some []string) {
	for _, s := range all {
		if !slices.Contains(some, s) {
			some = append(some, s)
		}
	}
	return some
}
