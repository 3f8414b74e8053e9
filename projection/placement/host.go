package placement

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// pass is what decisions that are recorded together share: each counts on what those before it have given away.
type pass struct {
	state *projection.State
	hosts []string
	now   time.Time
	ports map[projection.Pod]claim   // host ports given away; nil: not looked at yet
	specs map[string]*corev1.PodSpec // by template, as recorded

	unplaced map[projection.Pod]bool // no host can take these
}

// claim is what a pod has of its host's ports.
type claim struct {
	host  string
	ports []hostPort
}

func newPass(s *projection.State, hosts []string, now time.Time) *pass {
	return &pass{state: s, hosts: hosts, now: now, specs: map[string]*corev1.PodSpec{}, unplaced: map[projection.Pod]bool{}}
}

// host chooses where a pod of the template runs, and takes what it needs there, or says why no host can take it.
func (p *pass) host(pod projection.Pod, template json.RawMessage) (host, why string) {
	defer func() {
		if host == "" {
			p.unplaced[pod] = true
		}
	}()
	spec := p.specs[string(template)]
	if spec == nil {
		var t corev1.PodTemplateSpec
		if err := json.Unmarshal(template, &t); err != nil {
			return "", "the recorded template cannot be read: " + err.Error()
		}
		spec = &t.Spec
		p.specs[string(template)] = spec
	}
	var reasons []string
	for _, h := range p.hosts {
		reason := p.refusal(pod, h, spec)
		if reason == "" {
			if wanted := hostPorts(spec); len(wanted) > 0 {
				p.ports[pod] = claim{h, wanted}
			}
			return h, "only host"
		}
		reasons = append(reasons, h+": "+reason)
	}
	if len(reasons) == 0 {
		return "", "no host is ready"
	}
	return "", "no host can take it: " + strings.Join(reasons, "; ")
}

// refusal says why the host cannot take a pod; "" when it can.
func (p *pass) refusal(pod projection.Pod, host string, spec *corev1.PodSpec) string {
	if len(spec.NodeSelector) > 0 {
		labels := p.state.HostLabels(host)
		for _, k := range slices.Sorted(maps.Keys(spec.NodeSelector)) {
			if v, ok := labels[k]; !ok || v != spec.NodeSelector[k] {
				return fmt.Sprintf("nodeSelector wants %s=%s", k, spec.NodeSelector[k])
			}
		}
	}
	wanted := hostPorts(spec)
	if len(wanted) == 0 {
		return ""
	}
	p.readPorts()
	refusal, by := "", projection.Pod{}
	for other, c := range p.ports {
		if c.host != host || other == pod || refusal != "" && other.Compare(by) > 0 {
			continue // the first by name is named, so that the same state gives the same reason
		}
		for _, hp := range wanted {
			if slices.ContainsFunc(c.ports, hp.clashes) {
				by, refusal = other, fmt.Sprintf("host port %d/%s is taken by %s/%s", hp.port, hp.protocol, other.Namespace, other.Name())
				break
			}
		}
	}
	return refusal
}

// readPorts finds out which host ports are given away. A placement that cannot be read is said by whoever decides
// about its Deployment.
func (p *pass) readPorts() {
	if p.ports != nil {
		return
	}
	p.ports = map[projection.Pod]claim{}
	for o := range p.state.All(projection.PlacementType + "/") {
		if b := o.Version.Object; !bytes.Contains(b, []byte(`"hostPort"`)) && !bytes.Contains(b, []byte(`"hostNetwork"`)) {
			continue // most have none, and reading them costs more
		}
		var t corev1.PodTemplateSpec
		if placed, err := projection.AsPlacement(o); err == nil && json.Unmarshal(placed.Template, &t) == nil {
			if ports := hostPorts(&t.Spec); len(ports) > 0 {
				p.ports[placed.Pod] = claim{placed.Host, ports}
			}
		}
	}
}

type hostPort struct {
	port     int32
	protocol corev1.Protocol
	ip       string // "" for all of the host's
}

// clashes reports whether not both can be had on one host.
func (a hostPort) clashes(b hostPort) bool {
	return a.port == b.port && a.protocol == b.protocol && (a.ip == b.ip || a.ip == "" || b.ip == "")
}

// hostPorts are the ports of its host that a pod asks for; in the host's network every port of it is one.
func hostPorts(spec *corev1.PodSpec) (all []hostPort) {
	for _, c := range spec.Containers {
		for _, p := range c.Ports {
			if spec.HostNetwork {
				p.HostPort = p.ContainerPort
			}
			if p.HostPort != 0 {
				hp := hostPort{p.HostPort, cmp.Or(p.Protocol, corev1.ProtocolTCP), p.HostIP}
				if hp.ip == "0.0.0.0" || hp.ip == "::" {
					hp.ip = ""
				}
				all = append(all, hp)
			}
		}
	}
	return all
}
