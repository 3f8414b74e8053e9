package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/pipe"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// ForwardProtocol is what a connection becomes that is upgraded: bytes, both ways, to a port of a replica. Either end may end its half.
const ForwardProtocol = "podman-swarm-forward/1"

// Forward is where a connection would be led, or is.
type Forward struct {
	Pod     string         `json:"pod,omitempty"` // "web-0"; "" where an endpoint was given by hand
	Host    string         `json:"host,omitempty"`
	Port    int            `json:"port"`    // of the container, or as it was given by hand
	Address netip.AddrPort `json:"address"` // that this host dials
}

// forwardTries is how many endpoints of a Service are tried, and forwardDial for how long each.
const (
	forwardTries = 3
	forwardDial  = 5 * time.Second
)

func (s *Server) forwardRoutes(handle func(string, func(*request) error)) {
	const path = "/swarm/v1/forward/{namespace}/{type}/{name}/{port}"
	handle("GET "+path, func(q *request) error {
		all, err := s.forwards(q)
		if err != nil {
			return err
		}
		return q.json(http.StatusOK, all[0])
	})
	handle("POST "+path, s.forward)
}

// forward leads the connection of a request to a replica, and answers once it is there.
func (s *Server) forward(q *request) error {
	if !strings.EqualFold(q.Header.Get("Upgrade"), ForwardProtocol) || !strings.EqualFold(q.Header.Get("Connection"), "upgrade") {
		return refused(http.StatusUpgradeRequired, metav1.StatusReasonBadRequest, "want Connection: Upgrade and Upgrade: "+ForwardProtocol+", over HTTP/1.1: psctl port-forward does that")
	}
	all, err := s.forwards(q)
	if err != nil {
		return err
	}
	ctx, cancel := q.streaming()
	defer cancel()
	to, there, err := dialFirst(ctx, all)
	if err != nil {
		return unreachable(err.Error())
	}
	defer there.Close()
	here, rw, err := http.NewResponseController(q.w).Hijack()
	if err != nil {
		return fmt.Errorf("take over the connection: %w", err)
	}
	defer here.Close()
	q.streams()
	q.answered().Code = http.StatusSwitchingProtocols
	_ = here.SetDeadline(time.Time{}) // those of the request are over
	head := fmt.Sprintf("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nForwarded-To: %s\r\n\r\n", ForwardProtocol, to.label())
	if _, err := here.Write([]byte(head)); err != nil {
		return nil // it has left
	}
	s.log().Info("a connection is led to a replica", "actor", q.by("").Actor, "namespace", q.PathValue("namespace"), "to", to.label(), "address", to.Address)
	stop := context.AfterFunc(ctx, func() { here.Close(); there.Close() })
	defer stop()
	// What net/http has read already, and then by the connection itself: its reader would take the end of what is sent for a client that has left.
	read, _ := rw.Reader.Peek(rw.Reader.Buffered())
	pipe.Join(here, io.MultiReader(bytes.NewReader(read), here), there)
	return nil
}

// dialFirst connects to the first that can be reached, of a few.
func dialFirst(ctx context.Context, all []Forward) (Forward, net.Conn, error) {
	var errs []error
	for _, f := range all[:min(len(all), forwardTries)] {
		d := net.Dialer{Timeout: forwardDial}
		c, err := d.DialContext(ctx, "tcp", f.Address.String())
		if err == nil {
			return f, c, nil
		}
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		errs = append(errs, fmt.Errorf("%s cannot be reached at %s: %w", f.label(), f.Address, err))
	}
	return Forward{}, nil, errors.Join(errs...)
}

// label is the replica for people.
func (f *Forward) label() string {
	if f.Pod == "" {
		return "an endpoint that was given by hand"
	}
	return fmt.Sprintf("port %d of %s on host %s", f.Port, f.Pod, f.Host)
}

// forwards are the replicas to which the path's port leads, those to try first first. It is never empty without an error.
func (s *Server) forwards(q *request) ([]Forward, error) {
	n, port := name{q.PathValue("namespace"), q.PathValue("name")}, q.PathValue("port")
	l := s.look()
	switch typ := q.PathValue("type"); typ {
	case "service":
		return s.serviceForwards(l, n, port)
	case "pod":
		p, ok := projection.PodNamed(n.namespace, n.name)
		if ok {
			if placed, err := l.Placement(p); err != nil || placed != nil {
				f, err := s.podForward(l, placed, port)
				return []Forward{f}, err
			}
		}
		return nil, apierrors.NewNotFound(pods().gr(), n.name)
	case "deployment":
		return s.deploymentForwards(l, n, port)
	default:
		return nil, badRequest("%q: want service, pod or deployment", typ)
	}
}

// deploymentForwards are the running replicas of a Deployment, those of this host first.
func (s *Server) deploymentForwards(l *look, n name, port string) ([]Forward, error) {
	r, _ := served("apps", "deployments")
	if _, err := s.shown(l, r, n); err != nil {
		return nil, err
	}
	var all []Forward
	var why error
	for p, err := range l.Placements(n.namespace + "/" + n.name + "/") {
		if err != nil {
			return nil, err
		}
		f, err := s.podForward(l, p, port)
		if err != nil {
			why = err
			continue
		}
		all = append(all, f)
	}
	if len(all) == 0 && why == nil {
		why = refused(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "deployment "+n.name+" has no replica")
	}
	s.nearFirst(all)
	if len(all) > 0 {
		why = nil
	}
	return all, why
}

// nearFirst puts those of this host first, and the others in any order.
func (s *Server) nearFirst(all []Forward) {
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	slices.SortStableFunc(all, func(a, b Forward) int {
		switch {
		case a.Host == s.Node && b.Host != s.Node:
			return -1
		case b.Host == s.Node && a.Host != s.Node:
			return 1
		}
		return 0
	})
}

// podForward is where a port of a replica's container is reached from here.
func (s *Server) podForward(l *look, p *projection.Placed, port string) (f Forward, err error) {
	pod := p.Pod.Name()
	no := func(format string, args ...any) (Forward, error) {
		return f, refused(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "pod "+pod+" "+fmt.Sprintf(format, args...))
	}
	if why := notRunning(l, p, &Cluster{}); why != "" {
		return no("does not run: %s", why)
	}
	r, err := l.Replica(p)
	if err != nil || r == nil {
		return no("does not run")
	}
	f = Forward{Pod: pod, Host: p.Host}
	number, _ := strconv.Atoi(port)
	var names []string
	i := slices.IndexFunc(r.Ports, func(d projection.Port) bool {
		names = append(names, strings.TrimSuffix(strconv.Itoa(d.Container)+" ("+d.Name+")", " ()"))
		return d.Protocol == string(corev1.ProtocolTCP) && (d.Container == number || d.Name == port)
	})
	declared := "it declares " + strings.Join(names, ", ")
	if names == nil {
		declared = "it declares none"
	}
	own, _ := netip.ParseAddr(r.IP)
	onHost := hostNetwork(p)
	switch {
	case i >= 0:
		f.Port = r.Ports[i].Container
	case number < 1 || number > 65535:
		return f, badRequest("pod %s has no TCP port %q: %s", pod, port, declared)
	case p.Host == s.Node && own.IsValid():
		f.Port = number
	default:
		return f, badRequest("pod %s runs on host %s, which publishes port %s nowhere: %s. Add it to the container's ports, or ask the agent of host %s", pod, p.Host, port, declared, p.Host)
	}
	if p.Host == s.Node && own.IsValid() {
		f.Address = netip.AddrPortFrom(own, uint16(f.Port))
		return f, nil
	}
	d := r.Ports[i]
	address := d.HostIP
	if ip, err := netip.ParseAddr(address); onHost || err != nil || ip.IsUnspecified() {
		h, spoke := projection.Read[projection.Host](l.State, projection.HostKey(p.Host))
		if address = "127.0.0.1"; (onHost || p.Host != s.Node) && spoke {
			address = h.Address
		}
	}
	ip, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		return no("runs on host %s, whose address is not known", p.Host)
	case onHost && meansThisHost(ip):
		return no("shares the network of host %s, of which no address is known that others reach: what listens at its loopback is for that host alone", p.Host)
	}
	f.Address = netip.AddrPortFrom(ip, uint16(d.Host))
	return f, nil
}

// hostNetwork reports whether the replica has the network of its host. All that listens there could be led to as if it were the replica's.
func hostNetwork(p *projection.Placed) bool {
	var t corev1.PodTemplateSpec
	return json.Unmarshal(p.Template, &t) != nil || t.Spec.HostNetwork
}

// onHost reports whether that is so, as far as can be told.
func (l *look) onHost(pod projection.Pod) bool {
	p, err := l.Placement(pod)
	return err != nil || p == nil || hostNetwork(p)
}

// meansThisHost reports whether an address is another host's on each host, so that nobody gets there by having it stand in a manifest: the
// agent's own API, which trusts the loopback, first of all.
func meansThisHost(ip netip.Addr) bool {
	return ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast()
}

// serviceForwards are the ready endpoints behind a port of a Service.
func (s *Server) serviceForwards(l *look, n name, port string) ([]Forward, error) {
	svc := s.discovery().Of(l.State).Service(discovery.Name{Namespace: n.namespace, Name: n.name})
	if svc == nil {
		return nil, apierrors.NewNotFound((&resource{plural: "services"}).gr(), n.name)
	}
	number, err := strconv.ParseInt(port, 10, 32)
	named := ""
	if err != nil {
		named = port
	}
	p := svc.Port(named, int32(number))
	if p == nil || p.Protocol != corev1.ProtocolTCP {
		return nil, badRequest("service %s has no TCP port %q", n.name, port)
	}
	var all []Forward
	for e := range p.Ready() {
		to := e.On(s.Node)
		if meansThisHost(to.Addr()) && (e.Host == "" || l.onHost(e.Pod)) {
			continue
		}
		f := Forward{Host: e.Host, Port: int(to.Port()), Address: to}
		if e.Host != "" {
			f.Pod = e.Pod.Name()
		}
		if e.Local.IsValid() {
			f.Port = int(e.Local.Port()) // the container's, wherever it is reached
		}
		all = append(all, f)
	}
	if len(all) > 0 {
		s.nearFirst(all)
		return all, nil
	}
	why := "no replica matches its selector"
	if len(svc.Absent) > 0 {
		why = svc.Absent[0].Of() + ": " + svc.Absent[0].Why
	}
	return nil, refused(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, fmt.Sprintf("service %s has no ready endpoint: %s", n.name, why))
}
