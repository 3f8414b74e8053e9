package main

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
)

// server is the API, for both of its listeners.
func (a *agent) server() *api.Server {
	s := &api.Server{
		Hosts:  a.names(),
		Ledger: a.ledger, Node: a.c.NodeName, Epoch: func() uint64 { return api.EpochOf(a.events.Incarnation()) }, Version: version, Log: a.part("api"),
		Recovering: a.recovering,
		Refusing:   a.refusing,
		Recovery:   a.reconciler.Report,
		Document:   a.document,
		Events:     a.history.Read,
		Tail:       a.tail,
		At:         a.folds.At,
		Logs:       a.logs,
		Orphans:    orphans{a.reconciler},
		Secrets:    a.secrets,
		Discovery:  a.services.catalog,
		Backups:    a.backups,
		Restorer:   a.restorer,
		Trail:      &trail{a: a},
		Health:     a.health,
		Metrics:    a.metrics.handler(a.part("metrics")),
		Observe:    a.answered,
		Streams:    func(more int) { a.metrics.streams.Add(float64(more)) },
		Spread:     a.spread,
		Cluster:    a.seen,
	}
	if a.cluster.member != nil {
		s.User = a.user
	}
	if a.c.ClusterAddr != "" {
		s.JoinToken = a.joinToken // refused as all changes are until there is a cluster
	}
	return s
}

// names are those by which the API may be called, beside the loopback.
func (a *agent) names() []string {
	var all []string
	for _, addr := range []string{a.c.APIAddr, a.c.APITLSAddr, a.c.NATSAddr, a.c.ClusterAdvertise, a.c.ClusterAddr} {
		if host, _, err := net.SplitHostPort(addr); err == nil && host != "" { // all have been checked with the configuration
			all = append(all, host)
		}
	}
	all = append(all, a.c.NodeName)
	if a.c.NodeAddress != "" {
		all = append(all, a.c.NodeAddress)
	}
	if name, err := os.Hostname(); err == nil {
		all = append(all, name)
	}
	return all
}

// apiTLS is how the API shows who it is to those beyond this host.
func (a *agent) apiTLS() *tls.Config {
	names := []string{"localhost"}
	ips := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	for _, name := range append(a.names(), defaultAddress()) {
		if ip := net.ParseIP(name); ip == nil {
			names = append(names, name)
		} else if !ip.IsUnspecified() {
			ips = append(ips, ip)
		}
	}
	return a.cluster.member.APITLS(names, ips)
}

// user is who a client certificate of the cluster's authority is: they are given out by who can read the authority's key, and
// may do everything.
func (a *agent) user(c *x509.Certificate) (name, scope string, err error) {
	name, err = a.cluster.member.User(&tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{c}}})
	return name, api.ScopeAdmin, err
}
