package podman

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

func TestPod_naming(t *testing.T) {
	host := func(hostNetwork bool) naming {
		n := naming{[]string{"192.0.2.53"}, []string{"example.org"}, []string{"rotate"}}
		if hostNetwork {
			n.servers = []string{"127.0.0.53"}
		}
		return n
	}
	two := "2"
	own := &corev1.PodDNSConfig{Nameservers: []string{"198.51.100.1", "10.0.0.1"}, Searches: []string{"mine", "cluster.local"},
		Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &two}, {Name: "use-vc"}}}
	const cluster = "[prod.svc.cluster.local svc.cluster.local cluster.local example.org"
	for _, c := range []struct {
		policy      corev1.DNSPolicy
		hostNetwork bool
		own         *corev1.PodDNSConfig
		resolver    string
		want        string
	}{
		{"", false, nil, "10.0.0.1", "[10.0.0.1] " + cluster + "] [ndots:5 timeout:5 attempts:2]"},
		{corev1.DNSClusterFirst, false, nil, "10.0.0.1", "[10.0.0.1] " + cluster + "] [ndots:5 timeout:5 attempts:2]"},
		{corev1.DNSClusterFirst, false, own, "10.0.0.1", "[10.0.0.1 198.51.100.1] " + cluster + " mine] [timeout:5 attempts:2 ndots:2 use-vc]"},
		{corev1.DNSClusterFirst, true, nil, "10.0.0.1", "[] [] []"}, // as the host
		{corev1.DNSClusterFirstWithHostNet, true, nil, "10.0.0.1", "[10.0.0.1] " + cluster + "] [ndots:5 timeout:5 attempts:2]"},
		{corev1.DNSClusterFirst, false, nil, "", "[] [] []"},
		{corev1.DNSDefault, false, nil, "10.0.0.1", "[] [] []"},
		{corev1.DNSDefault, false, own, "10.0.0.1", "[192.0.2.53 198.51.100.1 10.0.0.1] [example.org mine cluster.local] [rotate ndots:2 use-vc]"},
		{corev1.DNSClusterFirst, true, own, "10.0.0.1", "[127.0.0.53 198.51.100.1 10.0.0.1] [example.org mine cluster.local] [rotate ndots:2 use-vc]"},
		{corev1.DNSNone, false, own, "10.0.0.1", "[198.51.100.1 10.0.0.1] [mine cluster.local] [ndots:2 use-vc]"},
		{corev1.DNSNone, false, &corev1.PodDNSConfig{Nameservers: []string{"198.51.100.1"}}, "10.0.0.1", "[198.51.100.1] [.] []"},
	} {
		p := &pod{placed: &projection.Placed{Pod: projection.Pod{Namespace: "prod"}}}
		p.spec.DNSPolicy, p.spec.HostNetwork, p.spec.DNSConfig = c.policy, c.hostNetwork, c.own
		var resolver netip.Addr
		if c.resolver != "" {
			resolver = netip.MustParseAddr(c.resolver)
		}
		var s Spec
		p.naming(&s, resolver, host)
		if got := fmt.Sprint(s.DNSServers, s.DNSSearch, s.DNSOptions); got != c.want {
			t.Errorf("%s, hostNetwork %t, dnsConfig %t, resolver %q:\ngot  %s\nwant %s", c.policy, c.hostNetwork, c.own != nil, c.resolver, got, c.want)
		}
	}
}

func TestParseNaming(t *testing.T) {
	n := parseNaming("# nameserver 1.1.1.1\nnameserver 127.0.0.53\nnameserver  192.0.2.1 \nsearch a\ndomain b\nsearch x.example . y.example\n;options z\noptions edns0 ndots:2\nnameserver\n")
	if got, want := fmt.Sprint(n), "{[127.0.0.53 192.0.2.1] [x.example y.example] [edns0 ndots:2]}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
