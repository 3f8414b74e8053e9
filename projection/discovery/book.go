package discovery

//lint:file-ignore SA1019 EndpointSlices say the same in more words, and it is Endpoints that people write by hand

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// book is all that is known of Services, replicas and hosts, with an index for each question, so that what one event touches is
// found without going through everything. It is kept in step with the state by looking at what has changed.
type book struct {
	self     string
	boot     string // of this host
	rootless bool
	log      *slog.Logger

	services  map[Name]*declared
	given     map[Name][]corev1.EndpointSubset // Endpoints, of Services that select nothing
	pods      map[projection.Pod]*pod
	behind    map[projection.Pod]map[Name]bool // the Services that select the pod
	selectors map[label]map[*declared]bool     // Services by one of the labels that they select by
	labelled  map[label]map[projection.Pod]bool
	hosts     map[string]host
	on        map[string]map[projection.Pod]bool // by host
	heard     projection.Hearing
	templates templates

	addresses addresses
	ips       *allotment[Name, netip.Addr]
	ports     *allotment[portOf, nodePort]

	dirty     map[Name]bool // Services to be made anew
	ingresses map[Name]bool // Ingresses to be read anew
}

// declared is one Service as it is declared.
type declared struct {
	Name
	uid    events.ID
	spec   *corev1.ServiceSpec
	claims claims
	anchor label // under which it stands among the selectors
	pods   map[projection.Pod]bool
}

// claims are what a Service's address and ports on the hosts follow from.
type claims struct {
	age   age
	needs bool   // an address
	asked string // which
	ports string // what it says of its ports, as far as it matters
}

// label is one label in a namespace.
type label struct{ namespace, key, value string }

func newBook(self, boot string, cidr netip.Prefix, rootless bool, log *slog.Logger) *book {
	return &book{self: self, boot: boot, rootless: rootless, log: log, services: map[Name]*declared{}, given: map[Name][]corev1.EndpointSubset{}, pods: map[projection.Pod]*pod{},
		behind: map[projection.Pod]map[Name]bool{}, selectors: map[label]map[*declared]bool{},
		labelled: map[label]map[projection.Pod]bool{}, hosts: map[string]host{}, on: map[string]map[projection.Pod]bool{},
		templates: templates{}, addresses: newAddresses(cidr), ips: newAllotment[Name, netip.Addr](),
		ports: newAllotment[portOf, nodePort](), dirty: map[Name]bool{}, ingresses: map[Name]bool{}}
}

// readAll reads a whole state into an empty book.
func (b *book) readAll(st *projection.State) {
	b.heard = st.HeardBy(b.self)
	for _, typ := range []string{"service", "endpoints", "ingress", projection.PlacementType} {
		for o := range st.All(typ + "/") {
			b.follow(st, o.Key)
		}
	}
}

// follow takes over what the state says under a key that has changed.
func (b *book) follow(st *projection.State, key string) {
	if name, ok := hostIn(key); ok {
		b.lookAt(st, name)
		return
	}
	if p, _, ok := projection.PodOf(key); ok {
		b.followPod(st, p)
		return
	}
	switch typ, namespace, name := manifest.SplitKey(key); typ {
	case projection.SightType:
		if key == projection.SightKey(b.self) {
			b.heard = st.HeardBy(b.self)
			for name := range b.hosts {
				b.lookAt(st, name)
			}
		}
	case "service":
		b.followService(st, key, Name{namespace, name})
	case "endpoints":
		b.followGiven(st, key, Name{namespace, name})
	case "ingress":
		b.ingresses[Name{namespace, name}] = true
	}
}

// lookAt looks at a host anew that some pod is on.
func (b *book) lookAt(st *projection.State, name string) {
	was, ok := b.hosts[name]
	if !ok {
		return
	}
	is := b.hostOf(st, name)
	if is == was {
		return
	}
	b.hosts[name] = is
	for p := range b.on[name] {
		b.touch(p)
	}
}

// touch has the Services that select a pod made anew.
func (b *book) touch(p projection.Pod) {
	for n := range b.behind[p] {
		b.dirty[n] = true
	}
}

func (b *book) followPod(st *projection.State, key projection.Pod) {
	was := b.pods[key]
	is := b.podOf(st, key, was)
	if was == nil && is == nil {
		return
	}
	b.touch(key)
	same := was != nil && is != nil && was.template == is.template && was.host() == is.host()
	if is == nil {
		delete(b.pods, key)
	} else {
		b.pods[key] = is
	}
	if same {
		return
	}
	if is != nil {
		b.templates.used(is, 1)
		b.place(st, is)
	}
	if was != nil {
		b.templates.used(was, -1)
		if is == nil || is.host() != was.host() {
			b.displace(was)
		}
	}
	if was != nil && is != nil && was.template == is.template {
		return
	}
	b.relabel(was, is)
	b.touch(key)
}

// place notes on which host the pod is.
func (b *book) place(st *projection.State, p *pod) {
	name := p.host()
	if name == "" {
		return
	}
	if b.on[name] == nil {
		b.on[name] = map[projection.Pod]bool{}
		b.hosts[name] = b.hostOf(st, name)
	}
	b.on[name][p.Pod] = true
}

// displace notes that the pod is no longer on the host where it was.
func (b *book) displace(p *pod) {
	name := p.host()
	if delete(b.on[name], p.Pod); len(b.on[name]) == 0 {
		delete(b.on, name)
		delete(b.hosts, name)
	}
}

// relabel finds the Services that select a pod whose labels have changed.
func (b *book) relabel(was, is *pod) {
	if was != nil {
		for k, v := range was.labels() {
			drop(b.labelled, label{was.Namespace, k, v}, was.Pod)
		}
		for n := range b.behind[was.Pod] {
			delete(b.services[n].pods, was.Pod)
		}
		delete(b.behind, was.Pod)
	}
	if is == nil {
		return
	}
	for k, v := range is.labels() {
		l := label{is.Namespace, k, v}
		add(b.labelled, l, is.Pod)
		for s := range b.selectors[l] {
			if selects(s.spec.Selector, is.labels()) {
				s.pods[is.Pod] = true
				add(b.behind, is.Pod, s.Name)
			}
		}
	}
}

func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if has, ok := labels[k]; !ok || has != v {
			return false
		}
	}
	return true
}

func add[K, V comparable](m map[K]map[V]bool, k K, v V) {
	if m[k] == nil {
		m[k] = map[V]bool{}
	}
	m[k][v] = true
}

func drop[K, V comparable](m map[K]map[V]bool, k K, v V) {
	if delete(m[k], v); len(m[k]) == 0 {
		delete(m, k)
	}
}

func (b *book) followService(st *projection.State, key string, n Name) {
	was := b.services[n]
	is := b.readService(st, key, n)
	if was == nil && is == nil {
		return
	}
	b.dirty[n] = true
	if was != nil && (is == nil || !maps.Equal(was.selector(), is.selector())) {
		b.deselect(was)
	} else if was != nil {
		is.pods, is.anchor = was.pods, was.anchor
		if is.pods != nil {
			delete(b.selectors[is.anchor], was)
			b.selectors[is.anchor][is] = true
		}
	}
	if is == nil {
		delete(b.services, n)
	} else {
		b.services[n] = is
		if is.pods == nil {
			b.selectPods(is)
		}
	}
	if was == nil || is == nil || was.claims != is.claims {
		b.claim(was, is)
	}
}

// readService reads a Service; nil when there is none, or none that can be read.
func (b *book) readService(st *projection.State, key string, n Name) *declared {
	shown, ok := st.Lookup(key)
	if !ok {
		return nil
	}
	o, err := manifest.Decode("service", shown.Version.Object)
	s, ok := o.(*corev1.Service)
	if err != nil || !ok {
		b.log.Error("a Service cannot be read, and is not found by anybody", "service", n.String(), "error", err)
		return nil
	}
	manifest.Default(s)
	d := &declared{Name: n, uid: shown.UID, spec: &s.Spec}
	d.claims = claims{age: age{made: s.CreationTimestamp.UTC(), uid: shown.UID}}
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return d
	}
	d.claims.needs, d.claims.asked = s.Spec.ClusterIP != corev1.ClusterIPNone, s.Spec.ClusterIP
	for i := range s.Spec.Ports {
		if p := &s.Spec.Ports[i]; p.NodePort > 0 || hasNodePorts(&s.Spec) {
			d.claims.ports += fmt.Sprintf("%d %s %d %s %d;", i, p.Name, p.Port, p.Protocol, p.NodePort)
		}
	}
	return d
}

// selector is what the Service's replicas have; nil when it has none by itself.
func (d *declared) selector() map[string]string {
	if d.spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	return d.spec.Selector
}

// selectPods finds the pods of a Service. It stands under the one of its labels by which fewest others do.
func (b *book) selectPods(d *declared) {
	first := true
	var among label // the one that fewest pods have
	for k, v := range d.selector() {
		l := label{d.Namespace, k, v}
		if first || len(b.selectors[l]) < len(b.selectors[d.anchor]) {
			d.anchor = l
		}
		if first || len(b.labelled[l]) < len(b.labelled[among]) {
			among = l
		}
		first = false
	}
	if first {
		return
	}
	d.pods = map[projection.Pod]bool{}
	add(b.selectors, d.anchor, d)
	for p := range b.labelled[among] {
		if selects(d.spec.Selector, b.pods[p].labels()) {
			d.pods[p] = true
			add(b.behind, p, d.Name)
		}
	}
}

func (b *book) deselect(d *declared) {
	for p := range d.pods {
		drop(b.behind, p, d.Name)
	}
	if d.pods != nil {
		drop(b.selectors, d.anchor, d)
	}
}

// claim has a Service, and all that this moves, get their addresses and their ports on the hosts.
func (b *book) claim(was, is *declared) {
	if was != nil {
		b.ips.remove(was.Name, b.moved)
		for i := range was.spec.Ports {
			b.ports.remove(portOf{was.Name, i}, b.movedPort)
		}
	}
	if is == nil {
		return
	}
	if is.claims.needs {
		b.ips.insert(is.Name, is.claims.age, b.addresses.list(is.Name, is.claims.asked), b.moved)
	}
	if is.claims.ports == "" {
		return
	}
	for i := range is.spec.Ports {
		if p := &is.spec.Ports[i]; p.NodePort > 0 || hasNodePorts(is.spec) {
			a := is.claims.age
			a.port = i
			b.ports.insert(portOf{is.Name, i}, a, nodePorts(is.Name, p), b.movedPort)
		}
	}
}

func (b *book) moved(n Name)       { b.dirty[n] = true }
func (b *book) movedPort(p portOf) { b.dirty[p.Name] = true }
