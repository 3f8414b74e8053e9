package ingress

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/btree"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// Class is the ingressClassName of the Ingresses that are served. One that names no class is served as well.
const Class = "podman-swarm"

// Ours reports whether an Ingress is served: others are left to whoever serves their class.
func Ours(s *networkingv1.IngressSpec) bool {
	return s.IngressClassName == nil || *s.IngressClassName == Class
}

// Route is where a rule of an Ingress, or its default backend, sends requests. Immutable.
type Route struct {
	Ingress discovery.Name
	Host    string // as declared; "": all
	Path    string // as declared; "" where it is the default backend's
	// Service is what is behind it, and PortName, or where that is "" PortNumber, the port. Service.Name is "" where the
	// rule has a resource for a backend, which nothing is sent to.
	Service    discovery.Name
	PortName   string
	PortNumber int32

	of     *discovery.Ingress
	series *series
}

// Routes says which Route a request takes. It never changes; With makes others.
type Routes struct {
	hosts btree.Map[string, *host]              // by name as declared; "" is all hosts
	from  btree.Map[string, *discovery.Ingress] // what they were made of, by name
	// series is asked for what the requests of an Ingress's route are counted in; nil: they are not.
	series func(discovery.Name, place) *series
}

// host is what the rules of all Ingresses say of one host. Immutable, and so is what it holds.
type host struct {
	exact, prefix map[string][]*Route // by path; each sorted, the first counts
	fallback      []*Route            // for requests that no rule matches
	longest       int                 // length of the longest path among the prefixes
	certificates  []*certificate      // for TLS; the first that can be read counts
}

// Find gives the route of a request, nil when there is none. Host is as hostOf gives it, and path as clean does.
//
// A rule counts if both its host and its path match; of several, that with the exact host, then the wildcard, then none; then the
// one with the longest path; then Exact before Prefix; then that of the older Ingress; then by the Ingress's name. If none matches, the default backend of an
// Ingress that has a rule for the host is taken, and then that of any other, the older first.
func (r *Routes) Find(name, path string) *Route {
	at := [3]*host{r.host(name), r.host(wildcardOf(name)), r.host("")}
	for _, h := range at {
		if route := h.find(path); route != nil {
			return route
		}
	}
	for _, h := range at {
		if h != nil && len(h.fallback) > 0 {
			return h.fallback[0]
		}
	}
	return nil
}

func (r *Routes) host(name string) *host {
	h, _ := r.hosts.Get(name)
	return h
}

func (h *host) find(path string) *Route {
	if h == nil {
		return nil
	}
	if all := h.exact[path]; len(all) > 0 {
		return all[0]
	}
	if len(h.prefix) == 0 {
		return nil
	}
	p := prefixOf(path)
	if len(p) > h.longest { // so that a long path costs no more than a rule does
		if p[h.longest] == '/' {
			p = p[:h.longest]
		} else {
			p = p[:strings.LastIndexByte(p[:h.longest+1], '/')]
		}
	}
	for {
		if all := h.prefix[p]; len(all) > 0 {
			return all[0]
		}
		if p == "" {
			return nil
		}
		p = p[:strings.LastIndexByte(p, '/')]
	}
}

// candidates are the certificates for a server name, in the order in which they are to be tried.
func (r *Routes) candidates(name string) (all []*certificate) {
	for _, at := range [3]string{name, wildcardOf(name), ""} {
		if h := r.host(at); h != nil && (at != "" || len(all) == 0) {
			all = append(all, h.certificates...)
		}
	}
	return all
}

// With is what r becomes when Ingresses have changed: now gives each name's Ingress, nil when it is gone. It costs what the changed
// Ingresses and the other rules of their hosts do, however many others there are. Nobody else may call it of the same r meanwhile.
func (r *Routes) With(names []discovery.Name, now func(discovery.Name) *discovery.Ingress) *Routes {
	c := &change{touched: map[string]*host{}, had: map[discovery.Name]*certificate{}}
	c.series = r.series
	c.hosts, c.from = *r.hosts.Copy(), *r.from.Copy()
	for _, n := range names {
		if old, ok := c.from.Get(n.String()); ok {
			c.remove(old)
			c.from.Delete(n.String())
		}
		if i := now(n); i != nil && Ours(i.Spec) {
			c.add(i)
			c.from.Set(n.String(), i)
		}
	}
	for name, h := range c.touched {
		if h.empty() {
			c.hosts.Delete(name)
			continue
		}
		h.longest = 0
		for p := range h.prefix {
			h.longest = max(h.longest, len(p))
		}
		c.hosts.Set(name, h)
	}
	return &c.Routes
}

// NewRoutes is the routes of all Ingresses of a table.
func NewRoutes(t *discovery.Table) *Routes { return new(Routes).whole(t) }

// whole is what r becomes when every Ingress may have changed: those that are as they were keep what is known of them.
func (r *Routes) whole(t *discovery.Table) *Routes {
	var changed []discovery.Name
	r.from.Scan(func(_ string, old *discovery.Ingress) bool {
		if t.Ingress(old.Name) == nil {
			changed = append(changed, old.Name)
		}
		return true
	})
	for i := range t.Ingresses() {
		if old, _ := r.from.Get(i.Name.String()); old != i {
			changed = append(changed, i.Name)
		}
	}
	return r.With(changed, t.Ingress)
}

// change is Routes that are being made, with copies of the hosts that become different.
type change struct {
	Routes
	touched map[string]*host
	had     map[discovery.Name]*certificate // those of the Ingresses that change, by Secret
}

// at is the host's copy, to be changed.
func (c *change) at(name string) *host {
	if h := c.touched[name]; h != nil {
		return h
	}
	h := &host{}
	if old := c.host(name); old != nil {
		*h = *old
		h.fallback, h.certificates = slices.Clone(h.fallback), slices.Clone(h.certificates)
	}
	h.exact, h.prefix = maps.Clone(h.exact), maps.Clone(h.prefix)
	c.touched[name] = h
	return h
}

func (h *host) empty() bool {
	return len(h.exact)+len(h.prefix)+len(h.fallback)+len(h.certificates) == 0
}

func (c *change) remove(i *discovery.Ingress) {
	for _, name := range hostsOf(i.Spec) {
		h := c.at(name)
		for _, paths := range []map[string][]*Route{h.exact, h.prefix} {
			for p, all := range paths {
				if !slices.ContainsFunc(all, func(r *Route) bool { return r.of == i }) {
					continue
				}
				if paths[p] = without(all, i); len(paths[p]) == 0 {
					delete(paths, p)
				}
			}
		}
		h.fallback = without(h.fallback, i)
		h.certificates = slices.DeleteFunc(h.certificates, func(t *certificate) bool {
			if t.of == i {
				c.had[discovery.Name{Namespace: t.namespace, Name: t.name}] = t
			}
			return t.of == i
		})
	}
}

func without(all []*Route, i *discovery.Ingress) []*Route {
	return slices.DeleteFunc(slices.Clone(all), func(r *Route) bool { return r.of == i })
}

func (c *change) add(i *discovery.Ingress) {
	for n := range i.Spec.Rules {
		rule := &i.Spec.Rules[n]
		if rule.HTTP == nil {
			continue // the default backend has the host
		}
		h := c.at(rule.Host)
		for k := range rule.HTTP.Paths {
			p := &rule.HTTP.Paths[k]
			r := route(i, c.counted(i, place{rule.Host, p.Path}), rule.Host, p.Path, &p.Backend)
			// What ImplementationSpecific means is ours to say: it is Prefix.
			if p.PathType != nil && *p.PathType == networkingv1.PathTypeExact {
				insert(&h.exact, meant(p.Path), r)
			} else {
				insert(&h.prefix, prefixOf(meant(p.Path)), r)
			}
		}
	}
	if b := i.Spec.DefaultBackend; b != nil {
		counted := c.counted(i, place{})
		for _, name := range hostsOf(i.Spec) {
			h := c.at(name)
			h.fallback = sorted(append(h.fallback, route(i, counted, name, "", b)))
		}
	}
	for n := range i.Spec.TLS {
		t := &i.Spec.TLS[n]
		if t.SecretName == "" {
			continue // the default certificate will do
		}
		hosts := t.Hosts
		if len(hosts) == 0 {
			hosts = ruleHosts(i.Spec)
		}
		cert := &certificate{of: i, namespace: i.Namespace, name: t.SecretName}
		if old := c.had[discovery.Name{Namespace: cert.namespace, Name: cert.name}]; old != nil {
			cert.takeOver(old)
		}
		for _, name := range hosts {
			h := c.at(name)
			h.certificates = append(h.certificates, cert)
			slices.SortStableFunc(h.certificates, func(a, b *certificate) int { return older(a.of, b.of) })
		}
	}
}

// counted is what a route's requests are counted in; nil where they are not.
func (c *change) counted(i *discovery.Ingress, at place) *series {
	if c.series == nil {
		return nil
	}
	return c.series(i.Name, at)
}

// hostsOf names all hosts that an Ingress says something of, sorted. What it says of none in particular is under "".
func hostsOf(s *networkingv1.IngressSpec) []string {
	all := ruleHosts(s)
	for i := range s.TLS {
		all = append(all, s.TLS[i].Hosts...)
	}
	if s.DefaultBackend != nil {
		all = append(all, "")
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func ruleHosts(s *networkingv1.IngressSpec) (all []string) {
	for i := range s.Rules {
		all = append(all, s.Rules[i].Host)
	}
	if len(all) == 0 {
		all = append(all, "")
	}
	return all
}

func route(i *discovery.Ingress, s *series, host, path string, b *networkingv1.IngressBackend) *Route {
	r := &Route{Ingress: i.Name, Host: host, Path: path, of: i, series: s}
	if b.Service != nil {
		r.Service = discovery.Name{Namespace: i.Namespace, Name: b.Service.Name}
		r.PortName, r.PortNumber = b.Service.Port.Name, b.Service.Port.Number
	}
	return r
}

func insert(paths *map[string][]*Route, path string, r *Route) {
	if *paths == nil {
		*paths = map[string][]*Route{}
	}
	(*paths)[path] = sorted(append(slices.Clone((*paths)[path]), r))
}

// sorted puts the routes of older Ingresses first. Those of one Ingress stay in its order.
func sorted(all []*Route) []*Route {
	slices.SortStableFunc(all, func(a, b *Route) int { return older(a.of, b.of) })
	return all
}

// older orders Ingresses by when they were made, to the second, then by the number of the event that made them, and then by name: all hosts order
// them alike.
func older(a, b *discovery.Ingress) int {
	return cmp.Or(a.Created.Compare(b.Created), a.UID.Compare(b.UID), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name.Name, b.Name.Name))
}
