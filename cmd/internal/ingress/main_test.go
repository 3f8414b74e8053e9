package ingress

import (
	"net/netip"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

func endpoint(at string) discovery.Endpoint {
	return discovery.Endpoint{Address: netip.MustParseAddrPort(at), Ready: true}
}
