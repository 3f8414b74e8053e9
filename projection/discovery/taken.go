package discovery

import (
	"maps"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/podman-swarm/podman-swarm/events/manifest"
)

// Taken is who has which virtual address and which port of the hosts, for who declares Services upon a table, one after another.
type Taken struct {
	table *Table
	ips   map[netip.Addr]Name
	ports map[nodePort]Name
}

// Taken is what the Services of the table have. A host without addresses knows only of those that are asked for.
func (t *Table) Taken() *Taken {
	all := &Taken{t, map[netip.Addr]Name{}, map[nodePort]Name{}}
	for s := range t.Services() {
		ip := s.IP
		if !ip.IsValid() && t.addresses.size == 0 {
			ip, _ = netip.ParseAddr(s.Spec.ClusterIP)
		}
		if ip.IsValid() {
			all.ips[ip] = s.Name
		}
		for i := range s.Ports {
			if p := &s.Ports[i]; p.NodePort != 0 {
				all.ports[nodePort{p.Protocol, p.NodePort}] = s.Name
			}
		}
	}
	return all
}

// Free notes which ports of the hosts a Service gives up that is declared anew, so that others which are declared with it, before it or after, may have them.
func (t *Taken) Free(s *corev1.Service) {
	n := nameOf(s)
	has := t.table.Service(n)
	if has == nil {
		return
	}
	a := &admission{Taken: t, name: n, is: &s.Spec, there: true, old: has.Spec, has: has}
	stays := asked(s.Spec.Ports)
	for i, before := range a.before() {
		if p := &s.Spec.Ports[i]; p.NodePort == 0 && hasNodePorts(&s.Spec) {
			stays[nodePort{p.Protocol, uint16(before.has)}] = true
		}
	}
	for i := range has.Ports {
		if p := (nodePort{has.Ports[i].Protocol, has.Ports[i].NodePort}); t.ports[p] == n && !stays[p] {
			delete(t.ports, p)
		}
	}
}

// Ask notes what a Service asks for and nobody has, so that none that is admitted before it is given that.
func (t *Taken) Ask(s *corev1.Service) {
	n := nameOf(s)
	if ip, err := netip.ParseAddr(s.Spec.ClusterIP); err == nil {
		keep(t.ips, ip, n)
	}
	for p := range asked(s.Spec.Ports) {
		keep(t.ports, p, n)
	}
}

// Leave notes that a Service has nothing any more.
func (t *Taken) Leave(n Name) {
	maps.DeleteFunc(t.ips, func(_ netip.Addr, by Name) bool { return by == n })
	maps.DeleteFunc(t.ports, func(_ nodePort, by Name) bool { return by == n })
}

// keep notes who has something that nobody has.
func keep[R comparable](all map[R]Name, r R, n Name) {
	if _, ok := all[r]; !ok {
		all[r] = n
	}
}

// asked are the ports of the hosts that ports of a Service ask for.
func asked(ports []corev1.ServicePort) map[nodePort]bool {
	all := map[nodePort]bool{}
	for i := range ports {
		if p := &ports[i]; canHave(p.NodePort) {
			all[nodePort{p.Protocol, uint16(p.NodePort)}] = true
		}
	}
	return all
}

func nameOf(s *corev1.Service) Name {
	_, namespace, name := manifest.SplitKey(manifest.Key(s))
	return Name{namespace, name}
}

// Admit gives a Service as it is to be declared, and what it asks for and cannot have; was is as it is declared so far, nil when it is not. What it has, and
// was not the first that its name gives, is written down, so that it has it until it ends, whoever else comes or goes: as in Kubernetes, what was written
// down stays where nothing is said of it. What its name gives first is not, also where it was read and is written back. Neither Service is changed.
func (t *Taken) Admit(s, was *corev1.Service) (*corev1.Service, field.ErrorList) {
	is := s.DeepCopy()
	a := &admission{Taken: t, name: nameOf(s), is: &is.Spec, old: &corev1.ServiceSpec{}, has: &Service{}, numbers: map[int]uint16{}}
	if has := t.table.Service(a.name); was != nil && has != nil {
		a.there, a.has, a.old = true, has, has.Spec
	}
	wrong := append(a.address(), a.nodePorts()...)
	if (a.ip.IsValid() || len(a.numbers) > 0) && (was == nil || !manifest.Same(is, was)) {
		if a.ip.IsValid() {
			is.Spec.ClusterIP = a.ip.String()
		}
		for i, number := range a.numbers {
			is.Spec.Ports[i].NodePort = int32(number)
		}
	}
	a.take()
	return is, wrong
}

// admission is one Service on its way to be declared.
type admission struct {
	*Taken
	name  Name
	is    *corev1.ServiceSpec
	there bool                // it is declared already:
	old   *corev1.ServiceSpec // so
	has   *Service            // and has this

	ip      netip.Addr     // to write down; not valid: none
	numbers map[int]uint16 // ports of the hosts to write down, by the port's place
	gets    struct {
		ip    netip.Addr
		ports []nodePort
	}
}

// take notes what the Service gets in place of what it had.
func (a *admission) take() {
	if a.ips[a.has.IP] == a.name {
		delete(a.ips, a.has.IP)
	}
	for i := range a.has.Ports {
		if p := (nodePort{a.has.Ports[i].Protocol, a.has.Ports[i].NodePort}); a.ports[p] == a.name {
			delete(a.ports, p)
		}
	}
	if a.gets.ip.IsValid() {
		a.ips[a.gets.ip] = a.name
	}
	for _, p := range a.gets.ports {
		a.ports[p] = a.name
	}
}

// address settles the virtual address.
func (a *admission) address() (wrong field.ErrorList) {
	s, old, from := a.is, a.old.ClusterIP, a.table.addresses
	given, err := netip.ParseAddr(s.ClusterIP)
	silent := s.ClusterIP == "" && len(s.ClusterIPs) == 0
	own, _ := from.list(a.name, "")(0)
	switch same := err == nil && (given == a.has.IP || s.ClusterIP == old); {
	case s.Type == corev1.ServiceTypeExternalName && a.there && same:
		s.ClusterIP, s.ClusterIPs = "", nil // it went with the type
	case s.Type != corev1.ServiceTypeExternalName && old != "" && old != corev1.ClusterIPNone && (silent || same):
		s.ClusterIP, s.ClusterIPs = old, a.old.ClusterIPs
	case a.there && old == "" && same && given == own:
		s.ClusterIP, s.ClusterIPs = "", nil
	}
	switch at := field.NewPath("spec", "clusterIP"); {
	case s.Type == corev1.ServiceTypeExternalName || s.ClusterIP == corev1.ClusterIPNone:
	case s.ClusterIP == "":
		if a.gets.ip = a.has.IP; !a.gets.ip.IsValid() {
			a.gets.ip = first(from.list(a.name, ""), func(ip netip.Addr) bool { _, taken := a.ips[ip]; return !taken })
		}
		if a.gets.ip != own && old == "" { // one that had none is asked for none: it is written down when it changes again
			a.ip = a.gets.ip
		}
	case err != nil || old != "" && old != corev1.ClusterIPNone: // that it is none, or another than before, is said elsewhere
		a.gets.ip = a.has.IP
	case from.size > 0 && !from.has(given):
		wrong = append(wrong, field.Invalid(at, s.ClusterIP, from.lacks(given)))
	default:
		if by, taken := a.ips[given]; taken && by != a.name {
			wrong = append(wrong, field.Invalid(at, s.ClusterIP, "Service "+by.String()+" has it"))
		}
		a.gets.ip = given
	}
	return wrong
}

// first is the first thing of a list that will do; the zero one when none does.
func first[R any](list func(k int) (R, bool), will func(R) bool) (none R) {
	for k := 0; ; k++ {
		r, ok := list(k)
		if !ok {
			return none
		}
		if will(r) {
			return r
		}
	}
}

// nodePorts settles the ports on the hosts.
func (a *admission) nodePorts() (wrong field.ErrorList) {
	s, before := a.is, a.before()
	may := s.Type == corev1.ServiceTypeNodePort || s.Type == corev1.ServiceTypeLoadBalancer
	said := asked(s.Ports)
	for i := range s.Ports {
		p, old, has := &s.Ports[i], before[i].old, before[i].has
		switch carried := (nodePort{p.Protocol, uint16(old)}); {
		case !may && p.NodePort != 0 && (p.NodePort == has || p.NodePort == old):
			p.NodePort = 0 // it went with the type
		case p.NodePort == 0 && canHave(old) && hasNodePorts(s) && hasNodePorts(a.old) && !said[carried]:
			p.NodePort = old
		case p.NodePort != 0 && p.NodePort == has && old == 0 && p.NodePort == int32(ownPort(a.name, p).number):
			p.NodePort = 0
		}
	}
	said = asked(s.Ports)
	for i := range s.Ports {
		p, at := &s.Ports[i], field.NewPath("spec", "ports").Index(i).Child("nodePort")
		is := nodePort{p.Protocol, uint16(p.NodePort)}
		switch {
		case p.NodePort == 0 && hasNodePorts(s):
			is.number = uint16(before[i].has)
			if is.number == 0 || said[is] {
				is = first(nodePorts(a.name, p), func(is nodePort) bool { _, taken := a.ports[is]; return !taken && !said[is] })
			}
			if is.number != 0 && is != ownPort(a.name, p) {
				a.numbers[i] = is.number
			}
			said[is] = true
		case !may || !canHave(p.NodePort): // of the latter is said elsewhere that it cannot be had
			continue
		default:
			by, taken := a.ports[is]
			if taken = taken && by != a.name; taken && p.NodePort == before[i].old {
				is.number = uint16(before[i].has)
			} else if taken {
				wrong = append(wrong, field.Invalid(at, p.NodePort, "Service "+by.String()+" has it"))
			}
		}
		a.gets.ports = append(a.gets.ports, is)
	}
	return wrong
}

// ownPort is the port of the hosts that the Service's name gives first.
func ownPort(n Name, p *corev1.ServicePort) nodePort {
	silent := *p
	silent.NodePort = 0
	is, _ := nodePorts(n, &silent)(0)
	return is
}

// before is, of each port, which port of the hosts it asked for before and which it has: as the port of its name and protocol, or else as that of its number.
func (a *admission) before() []struct{ old, has int32 } {
	type port struct {
		name     string // "" where it goes by its number
		number   int32
		protocol corev1.Protocol
	}
	all, found := make([]struct{ old, has int32 }, len(a.is.Ports)), make([]bool, len(a.is.Ports))
	used := map[int]bool{}
	for _, as := range []func(p *corev1.ServicePort) port{
		func(p *corev1.ServicePort) port { return port{p.Name, 0, p.Protocol} },
		func(p *corev1.ServicePort) port { return port{"", p.Port, p.Protocol} },
	} {
		at := map[port]int{}
		for k := range a.old.Ports {
			at[as(&a.old.Ports[k])] = k
		}
		for i := range a.is.Ports {
			if k, ok := at[as(&a.is.Ports[i])]; ok && !found[i] && !used[k] {
				found[i], used[k] = true, true
				all[i].old, all[i].has = a.old.Ports[k].NodePort, int32(a.has.Ports[k].NodePort)
			}
		}
	}
	return all
}
