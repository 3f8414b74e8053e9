package discovery

import (
	"context"
	"iter"
	"net/netip"
	"strings"
	"time"

	"github.com/tidwall/btree"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Name names a Service or an Ingress.
type Name struct{ Namespace, Name string }

// String is the name as people write it: default/nginx.
func (n Name) String() string { return n.Namespace + "/" + n.Name }

func (n Name) less(o Name) bool {
	return n.Namespace < o.Namespace || n.Namespace == o.Namespace && n.Name < o.Name
}

// Service is one Service and what is behind it. Immutable.
type Service struct {
	Name
	UID     events.ID
	Created time.Time           // as declared; of two Services that want one address, the older has it
	Spec    *corev1.ServiceSpec // as declared, defaults filled in
	// IP is the Service's virtual address; not valid when it is headless or an ExternalName.
	IP     netip.Addr
	Ports  []Port   // as in Spec; of a headless Service without any, one without a number
	Absent []Absent // what should be behind the ports and is behind none of, or not all, them, or is not led to by IP all the same

	index uint64 // as Index has it
	moved uint64 // as Moved has it
}

// Index is the index, in this host's log, of the last event that changed anything here; of a table made anew, that of its state.
func (s *Service) Index() uint64 { return s.index }

// Moved is the index of the last event that gave the Service another address, or other ports on the hosts, than it had; 0 when none
// is known to have.
func (s *Service) Moved() uint64 { return s.moved }

// Headless reports whether the Service has names for its replicas, and no address of its own.
func (s *Service) Headless() bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }

// External is the name that the Service stands for; "" when it stands for replicas.
func (s *Service) External() string {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return strings.TrimSuffix(s.Spec.ExternalName, ".")
	}
	return ""
}

// Port gives the port of that name, or, where name is "", of that number over TCP; nil when there is none.
func (s *Service) Port(name string, number int32) *Port {
	for i := range s.Ports {
		if p := &s.Ports[i]; name != "" && p.Name == name || name == "" && int32(p.Port) == number && p.Protocol == corev1.ProtocolTCP {
			return p
		}
	}
	return nil
}

// Port is one port of a Service and the replicas behind it.
type Port struct {
	Name        string
	Protocol    corev1.Protocol // "" where Port is 0
	Port        uint16          // 0: the Service has none, and who asks for its replicas by name knows which; nor do the endpoints have any then
	NodePort    uint16          // at which every host takes it; 0: none
	AppProtocol string          // "" when nothing is said
	Endpoints   []Endpoint      // sorted by pod, and then by address
}

// Ready gives the endpoints that take new connections.
func (p *Port) Ready() iter.Seq[Endpoint] {
	return func(yield func(Endpoint) bool) {
		for _, e := range p.Endpoints {
			if e.Ready && !yield(e) {
				return
			}
		}
	}
}

// Endpoint is one replica behind one port of a Service.
type Endpoint struct {
	// Address is where every host of the cluster reaches it: an address of its host, and the port published there. Not valid
	// when only its own host reaches it, which then is this one.
	Address netip.AddrPort
	// Local is where its own host reaches its container, without a detour; not valid when only Address will do.
	Local netip.AddrPort
	Host  string         // that it runs on; "" when it was given by hand
	Pod   projection.Pod // zero when it was given by hand
	// Ready says that it takes new connections. One that is not is listed as well, so that its name is known and that it is not
	// routed to can be told.
	Ready bool
}

// On is where the host reaches the endpoint.
func (e *Endpoint) On(host string) netip.AddrPort {
	if e.Host == host && e.Local.IsValid() {
		return e.Local
	}
	return e.Address
}

// Absent is a replica that a Service's selector matches, or an endpoint that was given by hand, and why nothing is sent there.
type Absent struct {
	Pod   projection.Pod // zero when it was given by hand
	Given netip.Addr     // not valid when it was not
	Host  string
	Port  string // the Service's port that this is about, by name or number; "": all of them
	Why   string // for people: what is the case, and, where a person can help, what to do
}

// Of is what people know it by: the pod's name, or the address that was given.
func (a *Absent) Of() string {
	if a.Given.IsValid() {
		return a.Given.String()
	}
	return a.Pod.Name()
}

// Ingress is one Ingress, as declared with defaults filled in. Immutable.
type Ingress struct {
	Name
	UID     events.ID
	Created time.Time // as declared; of two Ingresses with one rule, the older has it
	Spec    *networkingv1.IngressSpec
}

// Table is what there is to be found at one moment. A Table that has been handed out never changes; it may be read from any
// goroutine, without locks.
type Table struct {
	services  *btree.BTreeG[*Service] // by name
	ingresses *btree.BTreeG[*Ingress] // by name
	byIP      *btree.Map[string, *Service]
	index     uint64
	state     *projection.State // that it is of; nil: made up
	turn      uint64            // in its Catalog, how often anything has changed
	addresses addresses         // that Services get
	of        *Catalog
}

// NewTable is a table of these, for tests.
func NewTable(services []*Service, ingresses []*Ingress) *Table {
	t := &Table{
		// No locks: who goes through one of them may look something up in it meanwhile.
		services:  btree.NewBTreeGOptions(func(a, b *Service) bool { return a.Name.less(b.Name) }, btree.Options{NoLocks: true}),
		ingresses: btree.NewBTreeGOptions(func(a, b *Ingress) bool { return a.Name.less(b.Name) }, btree.Options{NoLocks: true}),
		byIP:      btree.NewMap[string, *Service](0),
	}
	for _, s := range services {
		t.put(s.Name, s)
	}
	for _, i := range ingresses {
		t.ingresses.Set(i)
	}
	return t
}

// put has the table, which nobody else has seen yet, hold s under the name; nil: nothing.
func (t *Table) put(n Name, s *Service) {
	if was := t.Service(n); was != nil && was.IP.IsValid() && t.ByIP(was.IP) == was { // else it is another's already
		t.byIP.Delete(was.IP.String())
	}
	if s == nil {
		t.services.Delete(&Service{Name: n})
		return
	}
	t.services.Set(s)
	if s.IP.IsValid() {
		t.byIP.Set(s.IP.String(), s)
	}
}

// Index is the index, in this host's log, of the last event that the table knows.
func (t *Table) Index() uint64 { return t.index }

// Service is the Service of that name; nil when there is none.
func (t *Table) Service(n Name) *Service {
	s, _ := t.services.Get(&Service{Name: n})
	return s
}

// ByIP is the Service whose virtual address that is; nil when it is nobody's.
func (t *Table) ByIP(ip netip.Addr) *Service {
	s, _ := t.byIP.Get(ip.String())
	return s
}

// Services gives every Service, by name.
func (t *Table) Services() iter.Seq[*Service] {
	return func(yield func(*Service) bool) { t.services.Scan(yield) }
}

// Ingress is the Ingress of that name; nil when there is none.
func (t *Table) Ingress(n Name) *Ingress {
	i, _ := t.ingresses.Get(&Ingress{Name: n})
	return i
}

// Ingresses gives every Ingress, by name.
func (t *Table) Ingresses() iter.Seq[*Ingress] {
	return func(yield func(*Ingress) bool) { t.ingresses.Scan(yield) }
}

// News is a table and what has changed since an earlier one.
type News struct {
	*Table
	// Services and Ingresses are the names of those that were added, changed or removed.
	Services, Ingresses []Name
	// Whole says that all may have changed: Services and Ingresses are not filled in.
	Whole bool
}

// Source hands out tables as the state goes on.
type Source interface {
	// Table is the newest.
	Table() *Table
	// Next waits until there is a newer one than after, and tells what has changed since; the error is ctx's. With nil, or one
	// that is no longer remembered, it is Whole.
	Next(ctx context.Context, after *Table) (News, error)
}
