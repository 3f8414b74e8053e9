package main

//lint:file-ignore SA1019 Endpoints have a Service's replicas in one object, as people want to see them

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// foundService is a Service as the agent finds it.
type foundService struct {
	Name     string      `json:"name"`
	External string      `json:"external"`
	Refused  string      `json:"refused"`
	Unmet    []string    `json:"unmet"`
	Ports    []foundPort `json:"ports"`
	Absent   []struct {
		Pod  string `json:"pod"`
		Port string `json:"port"`
		Why  string `json:"why"`
	} `json:"absent"`
}

type foundPort struct {
	Name      string `json:"name"`
	Port      int    `json:"port"`
	Endpoints []struct {
		Address string `json:"address"`
		Pod     string `json:"pod"`
		Host    string `json:"host"`
		Ready   bool   `json:"ready"`
	} `json:"endpoints"`
}

type foundCount struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Ready     int    `json:"ready"`
	All       int    `json:"all"`
	External  string `json:"external"`
	Refused   string `json:"refused"`
	Open      []struct {
		Name string `json:"name"`
		Port int    `json:"port"`
	} `json:"open"` // null: the agent is of a version that does not say
}

// takes reports whether requests to a backend of an Ingress that names the Service come to anybody.
func (c *foundCount) takes(b *networkingv1.ServiceBackendPort) bool {
	if c.External != "" {
		_, err := netip.ParseAddr(c.External)
		return err != nil && c.Refused == ""
	}
	if c.Open == nil {
		return c.Ready > 0
	}
	for _, o := range c.Open {
		if b.Name != "" && o.Name == b.Name || b.Name == "" && o.Port == int(b.Number) {
			return true
		}
	}
	return false
}

// foundNote is the annotation in which a Service or Ingress, on its way into a table, is told what is behind it. Nobody else sees it.
const foundNote = "psctl/found"

// withCounts tells Services and Ingresses what is behind them. Where the agent cannot say, they are left as they are.
func (g *getter) withCounts(ctx context.Context, k kind, items []json.RawMessage) []json.RawMessage {
	if k.Kind != "Service" && k.Kind != "Ingress" || len(items) == 0 {
		return items
	}
	path := []string{"swarm", "v1", "services"}
	if !g.all {
		path = append(path, g.ns())
	}
	var counts []foundCount
	if g.c.Get(ctx, client.Path(path...), nil, &counts) != nil {
		return items
	}
	has := map[[2]string]foundCount{}
	for _, c := range counts {
		has[[2]string{c.Namespace, c.Name}] = c
	}
	told := make([]json.RawMessage, len(items))
	for i, raw := range items {
		if told[i] = raw; k.Kind == "Service" {
			told[i] = noted(raw, func(s *corev1.Service) string {
				if c, ok := has[[2]string{s.Namespace, s.Name}]; ok && c.External == "" {
					return fmt.Sprintf("%d/%d", c.Ready, c.All)
				}
				return "<none>"
			})
			continue
		}
		told[i] = noted(raw, func(i *networkingv1.Ingress) string {
			ready, all := 0, map[networkingv1.IngressServiceBackend]bool{}
			for _, b := range backends(i) {
				if b.Service != nil && !all[*b.Service] {
					all[*b.Service] = true
					if c, ok := has[[2]string{i.Namespace, b.Service.Name}]; ok && c.takes(&b.Service.Port) {
						ready++
					}
				}
			}
			return fmt.Sprintf("%d/%d", ready, len(all))
		})
	}
	return told
}

// noted is the object with a note of what text says of it.
func noted[T any, P interface {
	*T
	GetAnnotations() map[string]string
	SetAnnotations(map[string]string)
}](raw json.RawMessage, text func(P) string) json.RawMessage {
	o := P(new(T))
	if json.Unmarshal(raw, o) != nil {
		return raw
	}
	notes := map[string]string{foundNote: text(o)}
	for k, v := range o.GetAnnotations() {
		notes[k] = v
	}
	o.SetAnnotations(notes)
	b, err := json.Marshal(o)
	if err != nil {
		return raw
	}
	return b
}

// backends are all that an Ingress leads to.
func backends(i *networkingv1.Ingress) (all []*networkingv1.IngressBackend) {
	if i.Spec.DefaultBackend != nil {
		all = append(all, i.Spec.DefaultBackend)
	}
	for r := range i.Spec.Rules {
		if h := i.Spec.Rules[r].HTTP; h != nil {
			for p := range h.Paths {
				all = append(all, &h.Paths[p].Backend)
			}
		}
	}
	return all
}

func endpointsRow(e *corev1.Endpoints, now time.Time) row {
	var ready, other []string
	for _, s := range e.Subsets {
		if len(s.Ports) == 0 { // of a Service without ports
			for _, a := range s.Addresses {
				ready = append(ready, a.IP)
			}
			for _, a := range s.NotReadyAddresses {
				other = append(other, a.IP)
			}
		}
		for _, p := range s.Ports {
			for _, a := range s.Addresses {
				ready = append(ready, a.IP+":"+strconv.Itoa(int(p.Port)))
			}
			for _, a := range s.NotReadyAddresses {
				other = append(other, a.IP+":"+strconv.Itoa(int(p.Port)))
			}
		}
	}
	return row{[]string{e.Name, cmp.Or(strings.Join(ready, ","), "<none>"), age(e.CreationTimestamp.Time, now)},
		[]string{cmp.Or(strings.Join(other, ","), "<none>")}}
}

// found is a Service as the agent finds it.
func found(ctx context.Context, c *client.Client, namespace, name string) (*foundService, error) {
	f := &foundService{}
	return f, c.Get(ctx, client.Path("swarm", "v1", "services", namespace, name), nil, f)
}

// describeFound adds what is behind a Service, and why what is not is not.
func describeFound(g *page, f *foundService) {
	var rows []string
	for _, p := range f.Ports {
		for _, e := range p.Endpoints {
			state := "ready"
			if !e.Ready {
				state = "not ready"
			}
			rows = append(rows, strings.Join([]string{portName(p), e.Address, state, e.Pod, e.Host}, "\t"))
		}
	}
	g.below("Endpoints", rows)
	g.below("Nothing is sent to", absentRows(f))
}

func portName(p foundPort) string {
	if p.Port == 0 {
		return "any port"
	}
	return cmp.Or(p.Name, strconv.Itoa(p.Port))
}

func absentRows(f *foundService) (rows []string) {
	for _, a := range f.Absent {
		rows = append(rows, a.Pod+led(" at port ", a.Port)+"\t"+a.Why)
	}
	return rows
}

// leads says where a backend of an Ingress leads, and if nowhere, why.
func (p *program) leads(ctx context.Context, c *client.Client, namespace string, b *networkingv1.IngressBackend, known map[string]*foundService) string {
	if b.Service == nil {
		return "nowhere: only Services are led to"
	}
	f, ok := known[b.Service.Name]
	if !ok {
		var err error
		f, err = found(ctx, c, namespace, b.Service.Name)
		if client.IsNotFound(err) {
			f = nil
		} else if err != nil {
			return ""
		}
		known[b.Service.Name] = f
	}
	if f == nil {
		return fmt.Sprintf("nowhere: there is no Service %q in namespace %s", b.Service.Name, namespace)
	}
	if _, err := netip.ParseAddr(f.External); err == nil {
		return "nowhere: " + f.External + " is no name: write Endpoints for it"
	}
	if f.Refused != "" {
		return "nowhere: " + f.Refused
	}
	if f.External != "" {
		return "to " + f.External
	}
	var has []string
	for _, port := range f.Ports {
		if port.Port == 0 {
			continue
		}
		if name, number := b.Service.Port.Name, int(b.Service.Port.Number); name != "" && port.Name != name || name == "" && port.Port != number {
			text := strconv.Itoa(port.Port)
			if port.Name != "" {
				text += " (" + port.Name + ")"
			}
			has = append(has, text)
			continue
		}
		ready := 0
		for _, e := range port.Endpoints {
			if e.Ready {
				ready++
			}
		}
		if ready > 0 {
			return fmt.Sprintf("to %d of %d replicas", ready, max(ready, len(port.Endpoints)))
		}
		for _, a := range f.Absent {
			if a.Port == "" || a.Port == portName(port) {
				return "nowhere: " + a.Pod + ": " + a.Why
			}
		}
		return "nowhere: no pod in namespace " + namespace + " has the labels that the Service selects by"
	}
	return fmt.Sprintf("nowhere: Service %s has no port %s: it has %s", f.Name, cmp.Or(b.Service.Port.Name, strconv.Itoa(int(b.Service.Port.Number))),
		cmp.Or(strings.Join(has, ", "), "none"))
}
