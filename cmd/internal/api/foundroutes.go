package api

import (
	"net/http"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/podman-swarm/podman-swarm/cmd/internal/ingress"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// FoundService is a Service as it is found, and why what is not behind it is not.
type FoundService struct {
	Namespace string        `json:"namespace"`
	Name      string        `json:"name"`
	IP        string        `json:"ip,omitempty"`       // absent: it has none
	External  string        `json:"external,omitempty"` // the name that it stands for
	Refused   string        `json:"refused,omitempty"`  // why that is not looked up
	Ports     []FoundPort   `json:"ports"`
	Unmet     []string      `json:"unmet,omitempty"` // what it asks for, or should have, of addresses and ports on the hosts, and has not
	Absent    []FoundAbsent `json:"absent,omitempty"`
}

// FoundPort is one port of a Service. A headless Service without ports has one that is 0, and has no protocol.
type FoundPort struct {
	Name      string          `json:"name,omitempty"`
	Protocol  string          `json:"protocol"`
	Port      int             `json:"port"`
	NodePort  int             `json:"node_port,omitempty"`
	Endpoints []FoundEndpoint `json:"endpoints"`
}

// FoundEndpoint is one replica behind one port of a Service.
type FoundEndpoint struct {
	Address  string `json:"address"` // that other hosts reach: IP:PORT, or IP where the Service has no ports; when only its own host reaches it, the one there
	IP       string `json:"ip"`
	Port     int    `json:"port"`
	Protocol string `json:"protocol"`
	Name     string `json:"name,omitempty"` // of the Service's port
	Pod      string `json:"pod,omitempty"`
	Host     string `json:"host,omitempty"`
	Ready    bool   `json:"ready"` // something is sent there
}

// FoundAbsent is a replica that is behind none of a Service's ports, or not behind one, or to which its address does not lead.
type FoundAbsent struct {
	Pod  string `json:"pod"` // of an endpoint that was given by hand, its address
	Host string `json:"host,omitempty"`
	Port string `json:"port,omitempty"` // absent: all of them
	Why  string `json:"why"`
}

// FoundIngress is what of an Ingress is not served.
type FoundIngress struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Served    bool     `json:"served"` // false: it is left to whoever serves its class
	Notes     []string `json:"notes"`  // which requests do not come to it, and why
}

// foundRoutes are what else is told of Services than Kubernetes has.
func (s *Server) foundRoutes(handle func(string, func(*request) error)) {
	handle("GET /swarm/v1/services", s.counts)
	handle("GET /swarm/v1/services/{namespace}", s.counts)
	handle("GET /swarm/v1/services/{namespace}/{name}", func(q *request) error {
		l, found, err := q.found()
		if err != nil {
			return err
		}
		all := foundService(found)
		all.Refused, all.Unmet = l.unresolved(found), l.found().Unmet(found)
		return q.json(http.StatusOK, all)
	})
	handle("GET /swarm/v1/ingresses/{namespace}/{name}", s.foundIngress)
	handle("GET /api/v1/services/{namespace}/{name}/endpoints", func(q *request) error {
		_, found, err := q.found()
		if err != nil {
			return err
		}
		all := []FoundEndpoint{}
		for _, p := range foundService(found).Ports {
			all = append(all, p.Endpoints...)
		}
		return q.json(http.StatusOK, all)
	})
	handle("GET /api/v1/services/{namespace}/{name}/addresses", func(q *request) error {
		_, found, err := q.found()
		if err != nil {
			return err
		}
		all := []string{}
		for _, p := range foundService(found).Ports {
			for _, e := range p.Endpoints {
				if e.Ready {
					all = append(all, e.Address)
				}
			}
		}
		return q.json(http.StatusOK, all)
	})
}

// found is the Service that a path names.
func (q *request) found() (*look, *discovery.Service, error) {
	v, err := q.view()
	if err != nil {
		return nil, nil, err
	}
	l, n := q.s.lookAt(v.State), name{q.PathValue("namespace"), q.PathValue("name")}
	if found := l.find(n); found != nil {
		return l, found, nil
	}
	r, _ := served("", "services")
	return nil, nil, apierrors.NewNotFound(r.gr(), n.name)
}

// foundIngress answers with what of an Ingress is not served.
func (s *Server) foundIngress(q *request) error {
	v, err := q.view()
	if err != nil {
		return err
	}
	n := discovery.Name{Namespace: q.PathValue("namespace"), Name: q.PathValue("name")}
	t := s.lookAt(v.State).found()
	i := t.Ingress(n)
	if i == nil {
		r, _ := served("networking.k8s.io", "ingresses")
		return apierrors.NewNotFound(r.gr(), n.Name)
	}
	return q.json(http.StatusOK, FoundIngress{n.Namespace, n.Name, ingress.Ours(i.Spec), append([]string{}, ingress.Notes(t, n)...)})
}

func foundService(s *discovery.Service) FoundService {
	all := FoundService{Namespace: s.Namespace, Name: s.Name.Name, External: s.External(), Ports: []FoundPort{}}
	if s.IP.IsValid() {
		all.IP = s.IP.String()
	}
	for _, p := range s.Ports {
		port := FoundPort{Name: p.Name, Protocol: string(p.Protocol), Port: int(p.Port), NodePort: int(p.NodePort), Endpoints: []FoundEndpoint{}}
		for _, e := range p.Endpoints {
			at := addressOf(&e)
			end := FoundEndpoint{Address: at.String(), IP: at.Addr().String(), Port: int(at.Port()), Protocol: port.Protocol, Name: p.Name,
				Host: e.Host, Ready: e.Ready}
			if p.Port == 0 {
				end.Address = end.IP
			}
			if e.Pod != (projection.Pod{}) {
				end.Pod = e.Pod.Name()
			}
			port.Endpoints = append(port.Endpoints, end)
		}
		all.Ports = append(all.Ports, port)
	}
	for _, a := range s.Absent {
		all.Absent = append(all.Absent, FoundAbsent{a.Of(), a.Host, a.Port, a.Why})
	}
	return all
}

// addressOf is where other hosts reach an endpoint, or else its own.
func addressOf(e *discovery.Endpoint) netip.AddrPort {
	if e.Address.IsValid() {
		return e.Address
	}
	return e.Local
}

// FoundCount is how many replicas a Service has, and how many of them take connections.
type FoundCount struct {
	Namespace string      `json:"namespace"`
	Name      string      `json:"name"`
	Ready     int         `json:"ready"`
	All       int         `json:"all"`
	Open      []FoundOpen `json:"open"`               // where an Ingress can lead: none of a headless Service without ports
	External  string      `json:"external,omitempty"` // the name that it stands for
	Refused   string      `json:"refused,omitempty"`  // why that is not looked up
}

// FoundOpen is a port of a Service, over TCP, at which a replica takes connections.
type FoundOpen struct {
	Name string `json:"name,omitempty"`
	Port int    `json:"port"`
}

// counts answers with the count of each Service in a namespace, or in all.
func (s *Server) counts(q *request) error {
	v, err := q.view()
	if err != nil {
		return err
	}
	all, l := []FoundCount{}, s.lookAt(v.State)
	for n := range foundNames(v.State, q.PathValue("namespace")) {
		if found := l.find(n); found != nil && (hasEndpoints(found) || found.External() != "") {
			c := FoundCount{Namespace: n.namespace, Name: n.name, Open: openOf(found), External: found.External(), Refused: l.unresolved(found)}
			c.Ready, c.All = readyOf(found)
			all = append(all, c)
		}
	}
	return q.json(http.StatusOK, all)
}

// openOf are the ports of a Service that an Ingress can lead to now.
func openOf(s *discovery.Service) []FoundOpen {
	all := []FoundOpen{}
	for i := range s.Ports {
		p := &s.Ports[i]
		if p.Protocol != corev1.ProtocolTCP { // that of none has no protocol
			continue
		}
		for range p.Ready() {
			all = append(all, FoundOpen{p.Name, int(p.Port)})
			break
		}
	}
	return all
}

// readyOf is how many replicas of a Service take connections at some port, and how many there are in all.
func readyOf(s *discovery.Service) (ready, all int) {
	type replica struct {
		projection.Pod
		given netip.AddrPort // of one that was given by hand
	}
	seen := map[replica]bool{}
	for i := range s.Ports {
		for _, e := range s.Ports[i].Endpoints {
			r := replica{Pod: e.Pod}
			if e.Pod == (projection.Pod{}) {
				r.given = netip.AddrPortFrom(e.Address.Addr(), 0)
			}
			seen[r] = seen[r] || e.Ready
		}
	}
	for _, a := range s.Absent {
		if r := (replica{a.Pod, netip.AddrPortFrom(a.Given, 0)}); !seen[r] {
			seen[r] = false
		}
	}
	for _, ok := range seen {
		if all++; ok {
			ready++
		}
	}
	return ready, all
}
