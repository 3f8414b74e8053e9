package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/cmd/internal/ingress"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// The parts of what makes Services found. Those of the Ingresses are called as the flags that ask for them.
const (
	addresses    = "addresses"
	names        = "names"
	ingressHTTP  = "ingress-http"
	ingressHTTPS = "ingress-https"
)

// nearEnd is how long before its end a certificate of a Secret is a reason to look: nobody here renews it.
const nearEnd = 14 * 24 * time.Hour

// problems are what a person should look at.
func (s *services) problems() (all []api.Problem) {
	s.mu.Lock()
	for _, part := range slices.Sorted(maps.Keys(s.parts)) {
		if is := s.parts[part]; is.why != "" {
			all = append(all, api.Problem{What: "--" + is.flag, Why: is.why, Do: "free it, or give another one, or none; it is tried again every 10 s"})
		}
	}
	s.mu.Unlock()
	if s.rules != nil {
		for _, why := range s.rules.Problems() {
			all = append(all, api.Problem{What: "the addresses of Services", Why: why})
		}
	}
	all = append(all, s.unmet()...)
	for n, c := range s.certificates() {
		what := "the certificate of Secret " + n.String()
		switch left := time.Until(c.expires); {
		case c.err != nil:
			all = append(all, api.Problem{What: what, Why: c.err.Error(), Do: "apply the Secret that an Ingress names for TLS, or take its name out of the Ingress; until then clients are shown another certificate"})
		case left < nearEnd:
			all = append(all, api.Problem{What: what, Why: "it ends, or has ended, at " + c.expires.UTC().Format(time.DateTime) + " UTC", Do: "apply the Secret with a newer one; it is served within a second"})
		}
	}
	slices.SortStableFunc(all, func(a, b api.Problem) int { return strings.Compare(a.What, b.What) })
	return all
}

// unmet is what Services ask for of addresses, and of ports on the hosts, and have not.
func (s *services) unmet() (all []api.Problem) {
	if s.catalog == nil {
		return nil
	}
	t := s.catalog.Table()
	for found := range t.Services() {
		for _, why := range t.Unmet(found) {
			all = append(all, api.Problem{What: "Service " + found.Name.String(), Why: why, Do: "give it another nodePort; for another address, delete it and declare it anew"})
		}
	}
	return all
}

// standings says of each part that this host is to have whether it is as it should be.
func (s *services) standings() map[string]bool {
	all := map[string]bool{}
	s.mu.Lock()
	for part, is := range s.parts {
		all[part] = is.why == ""
	}
	s.mu.Unlock()
	if up, ok := all[addresses]; ok {
		all[addresses] = up && s.rules.Answering()
	}
	return all
}

// end is when a certificate ends, or why it cannot be served.
type end struct {
	expires time.Time
	err     error
}

// certificates are those of the Secrets that Ingresses name for TLS; none where it is not known yet.
func (s *services) certificates() map[discovery.Name]end {
	all := map[discovery.Name]end{}
	if s.catalog == nil || s.secret == nil {
		return all
	}
	t := s.catalog.Table()
	if t == nil {
		return all
	}
	for _, n := range ingress.Secrets(t) {
		var e end
		cert, key, _, err := s.secret(n.Namespace, n.Name)
		if err == nil {
			e.expires, err = ingress.Expires(cert, key)
		}
		e.err = err
		all[n] = e
	}
	return all
}

// Describe sends nothing: which parts and Ingresses there are is not known before.
func (s *services) Describe(chan<- *prometheus.Desc) {}

// Collect sends how what makes Services found is doing.
func (s *services) Collect(out chan<- prometheus.Metric) {
	f := figures{out}
	for part, up := range s.standings() {
		f.gauge("services_up", "1 while this part of what makes Services found is as it should be; it is there once the host has use for it.", truth(up), "part", part)
	}
	if t := s.catalog.Table(); t != nil {
		for n, routes := range ingress.Unserved(t) {
			f.gauge("ingress_routes_unserved", "Routes of an Ingress that lead to no replica that is ready, or to no Service.", float64(routes),
				"namespace", n.Namespace, "ingress", n.Name)
		}
	}
	for n, c := range s.certificates() {
		f.gauge("ingress_certificate_expires_timestamp_seconds", "When the certificate ends that an Ingress has from a Secret; 0: the Secret is not there, or cannot be served.",
			timestamp(c.expires), "namespace", n.Namespace, "secret", n.Name)
	}
}
